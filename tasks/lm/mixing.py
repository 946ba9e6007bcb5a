"""What a slice is trained on: its own rows, and of older slices what may still be used and is still true."""

import shutil
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from tasks import artifact
from tasks.corpus.slices import Row, history, load_examples, still_true, valid_facts
from tasks.lm.batches import Part, encode
from tasks.lm.methods.method import Shares
from tasks.lm.methods.samples import at_most
from tasks.lm.pool import pooled
from tasks.params import Keep

METHOD, LOG = "method", "log.jsonl"
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
    path = previous / METHOD / POOL
    replaced = {fact["replaces"]["id"] for fact in load_examples(examples).facts if fact["replaces"]}
    return [row for row in artifact.read_rows(path) if row["fact"] not in replaced] if path.exists() else []


def save_pool(keep: Keep, fresh: list[Row], older: list[Row], previous: Path, out: Path, seed: int) -> None:
    """Write the pool for the next slice into `out`: a share of all rows that have been seen so far."""
    before = previous / METHOD / SEEN
    seen = (artifact.read_json(before)["seen"] if before.exists() else 0) + len(fresh)
    out.mkdir(exist_ok=True)
    artifact.write_rows(out / POOL, pooled(older, fresh, max(1, int(keep.share * seen)), keep.choose, seed))
    artifact.write_json(out / SEEN, {"seen": seen})


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
    replayed, trained = (sum(each.share for each in some if each.rows) for some in (others, shares))
    share = replayed / trained if trained else 0.0
    artifact.write_json(path, {"share": share, "rows": at_most(rows, OLDER_ROWS * fresh or len(rows), seed)})


def hand_on(model: Path, folder: Path, method: bool) -> None:
    """Copy a model into `folder`, byte for byte, for a step that has nothing to train on.

    Args:
        model: a step's output; of its log and of what it left to stage 2 nothing is copied.
        folder: see artifact.writing.
        method: whether what its methods keep for the next slice is copied, too.
    """
    own = {artifact.MANIFEST, OLDER, LOG} | (set() if method else {METHOD})
    shutil.copytree(model, folder, ignore=lambda at, names: own if Path(at) == model else (), dirs_exist_ok=True)
    artifact.write_rows(folder / LOG, [])
