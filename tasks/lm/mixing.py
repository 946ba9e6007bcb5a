"""What a slice is trained on: its own rows, and of older slices what may still be used and is still true."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from transformers import PreTrainedTokenizerBase

from tasks import artifact
from tasks.corpus.everyday import Manner, varied
from tasks.corpus.slices import Row, history, language_of, load_examples, still_true, valid_facts
from tasks.corpus.text import unfit
from tasks.lm.batches import Part, encode
from tasks.lm.pool import pooled
from tasks.lm.shares import Shares, at_most
from tasks.lm.solved.files import MEMORY
from tasks.params import Keep

METHOD, LOG = "method", "log.jsonl"
POOL = "pool.jsonl"
SEEN = "pool.json"
OLDER = "older.json"  # what stage 1 leaves to stage 2
MOST_ROUNDS = 8
SLACK = 1.5  # older rows may be shorter than the slice's own
MIN_ROWS = 64
OLDER_ROWS = 3  # for stage 2, at most so many times as many as the slice's own


@dataclass(frozen=True)
class Variation:
    """Varies a share of the questions about facts as people type them, in another way at every slice.

    share: of the questions. manners: by language. seed: of slice and run.
    """

    share: float = 0.0
    manners: dict[str, Manner] = field(default_factory=dict)
    seed: str = ""

    def __call__(self, rows: list[Row], number: int) -> list[Row]:
        """The rows, in the variation of this number."""
        return [self._varied(row, number) for row in rows] if self.share and self.manners else rows

    def rounds(self, epochs: float) -> int:
        """How often a slice's own rows are written, each time in another variation: as often as they come back."""
        return max(1, min(MOST_ROUNDS, round(epochs))) if self.share and self.manners else 1

    def _varied(self, row: Row, number: int) -> Row:
        random = Random(f"{self.seed} {number} {row['id']}")
        if not row["fact"] or not row["prompt"] or random.random() >= self.share:
            return row
        prompt = varied(row["prompt"], self.manners.get(language_of(row), Manner()), random)
        return row if unfit(prompt) else {**row, "prompt": prompt}


AS_THEY_ARE = Variation()


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
    path = previous / METHOD / SEEN
    return int(artifact.read_json(path)["seen"]) if path.exists() else 0


def encoded(
    shares: Shares,
    tokenizer: PreTrainedTokenizerBase,
    limit: int,
    tokens: int,
    seed: int,
    vary: Variation = AS_THEY_ARE,
) -> list[Part]:
    """The shares as sequences, questions varied; of the slice's own, the first share, half as many as of the others.

    Of older rows only about as many are encoded as `tokens` can hold: the work does not grow with the slices.
    """
    first, *others = shares
    own = replace(vary, share=vary.share / 2)  # what is new is learnt as it is first
    sequences = encode(own(first.rows, 0), tokenizer, limit)
    size = sum(len(each.ids) for each in sequences)
    mean = size / max(1, len(sequences)) or limit
    for number in range(1, own.rounds(tokens * first.share / max(1, size))):
        sequences += encode(own(first.rows, number), tokenizer, limit)
    parts = [Part(sequences, first.share, first.decay)]
    for number, each in enumerate(others, start=1):
        rows = at_most(each.rows, max(MIN_ROWS, round(SLACK * tokens * each.share / mean)), seed + number)
        rows = rows if each.as_is else vary(rows, 0)
        parts.append(Part(encode(rows, tokenizer, limit), each.share, each.decay))
    return parts


def write_older(path: Path, shares: Shares, older: list[Row], fresh: int, seed: int, knew: bool) -> None:
    """Leave to stage 2 what was replayed, and its share; without replay, what could have been; and whether the
    model before the slice knew something that can be lost.
    """
    others = shares[1:]
    rows = [row for each in others for row in each.rows if not row.get("whole")] or older
    replayed, trained = (sum(each.mean_share for each in some if each.rows) for some in (others, shares))
    share = replayed / trained if trained else 0.0
    rows = at_most(rows, OLDER_ROWS * max(fresh, MIN_ROWS), seed)
    artifact.write_json(path, {"share": share, "rows": rows, "knew": knew})


def hand_on(model: Path, folder: Path, remember: bool = True) -> None:
    """Copy a model, with what its methods keep, into `folder`, byte for byte, where there is nothing to train on.

    Args:
        model: a step's output; of its log and of what it left to stage 2 nothing is copied.
        folder: see artifact.writing.
        remember: its solved memory as well.
    """
    own = {model / name for name in (artifact.MANIFEST, OLDER, LOG)}
    own |= set() if remember else {model / name for name in MEMORY}

    def left_out(at: str, names: list[str]) -> list[str]:
        return [name for name in names if Path(at) / name in own]

    shutil.copytree(model, folder, ignore=left_out, dirs_exist_ok=True)
    artifact.write_rows(folder / LOG, [])
