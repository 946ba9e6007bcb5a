"""What a slice is trained on: its own rows, and of older slices what may still be used and is still true."""

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from tasks import artifact
from tasks.corpus.slices import Row, history, load_examples, still_true, valid_facts
from tasks.lm.batches import Part, encode
from tasks.lm.pool import pooled
from tasks.lm.shares import Shares, at_most
from tasks.params import Keep

POOL = "pool.jsonl"
SEEN = "pool.json"
OLDER = "older.json"  # what stage 1 leaves to stage 2
SLACK = 1.5  # older rows may be shorter than the slice's own
MIN_ROWS = 64
OLDER_ROWS = 3  # for stage 2, at most so many times as many as the slice's own


def older_rows(keep: Keep, examples: Path, previous: Path) -> list[Row]:
    """Training rows of older slices, as far as `keep` allows; none whose fact was overridden.

    Args:
        keep: all of them; or the pool that the slice before left beside its model; or none.
        examples: of the slice that is to be trained.
        previous: the model of the slice before. With a pool, no older slice's file is read.
    """
    if keep.rows == "none":
        return []
    if keep.rows == "all":
        slices = history(examples)
        valid = valid_facts(slices)
        return [row for each in slices[:-1] for row in still_true(each.train, valid)]
    path = previous / "method" / POOL
    replaced = {fact["replaces"]["id"] for fact in load_examples(examples).facts if fact["replaces"]}
    return [row for row in artifact.read_rows(path) if row["fact"] not in replaced] if path.exists() else []


def keepable_rows(keep: Keep, fresh: list[Row], older: list[Row], previous: Path, seed: int) -> list[Row]:
    """The rows that the next slice may have as older ones: all, none, or a pool, a share of all rows seen so far."""
    if keep.rows == "none":
        return []
    if keep.rows == "all":
        return [*older, *fresh]
    capacity = max(1, int(keep.share * (_rows_seen(previous) + len(fresh))))
    return pooled(older, fresh, capacity, keep.choose, seed)


def save_pool(pool: list[Row], fresh: list[Row], previous: Path, out: Path) -> None:
    """Write the pool for the next slice into `out`, and how many rows have been seen so far."""
    out.mkdir(exist_ok=True)
    artifact.write_rows(out / POOL, pool)
    artifact.write_json(out / SEEN, {"seen": _rows_seen(previous) + len(fresh)})


def _rows_seen(previous: Path) -> int:
    path = previous / "method" / SEEN
    return int(artifact.read_json(path)["seen"]) if path.exists() else 0


def encoded(shares: Shares, tokenizer: PreTrainedTokenizerBase, limit: int, tokens: int, seed: int) -> list[Part]:
    """The shares as sequences. Of older rows only about as many are encoded as the slice's `tokens` can hold.

    So the work does not grow with the number of older slices.
    """
    first, *others = shares
    parts = [Part(encode(first.rows, tokenizer, limit), first.share, first.decay)]
    mean = sum(len(each.ids) for each in parts[0].sequences) / max(1, len(parts[0].sequences)) or limit
    for number, each in enumerate(others, start=1):
        rows = at_most(each.rows, max(MIN_ROWS, round(SLACK * tokens * each.share / mean)), seed + number)
        parts.append(Part(encode(rows, tokenizer, limit), each.share, each.decay))
    return parts


def write_older(path: Path, shares: Shares, older: list[Row], fresh: int, seed: int) -> None:
    """Leave to stage 2 what was replayed, and its share; without replay, what could have been."""
    others = shares[1:]
    rows = [row for each in others for row in each.rows if not row.get("whole")] or older
    share = sum(each.share for each in others if each.rows) / sum(each.share for each in shares if each.rows)
    artifact.write_json(path, {"share": share, "rows": at_most(rows, OLDER_ROWS * fresh or len(rows), seed)})
