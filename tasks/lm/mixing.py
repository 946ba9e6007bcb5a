"""What a slice is trained on: its own rows, and of older slices what may still be used and is still true."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from transformers import PreTrainedTokenizerBase

from tasks import artifact
from tasks.corpus.everyday import Manner, varied
from tasks.corpus.slices import Examples, Row, history, language_of, overridden_by, still_true, undone_by, valid_facts
from tasks.corpus.text import unfit
from tasks.lm.batches import Part, encode
from tasks.lm.pool import Pool
from tasks.lm.shares import Shares, at_most
from tasks.lm.solved.files import MEMORY
from tasks.params import Keep

METHOD, LOG = "method", "log.jsonl"
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


def pool_for(keep: Keep, examples: Path, fresh: Examples, previous: Path) -> Pool:
    """The pool that the slice before left beside its model, without what this slice overrides or erases.

    It is empty unless capped.

    Args:
        keep: of rows: facts that the pool may hold from before are told again as rows.
        examples: of the slice that is to be trained; of older slices only templates are read, unless it erases.
        fresh: the same, loaded.
        previous: the model of the slice before.
    """
    if keep.rows != "capped":
        return Pool()
    gone = overridden_by(fresh.facts)
    if fresh.erased:
        gone |= undone_by(examples).gone
    pool = Pool.load(previous / METHOD).without(gone)
    return replace(pool, items=pool.rows(examples)) if keep.of == "rows" else pool


def older_rows(keep: Keep, examples: Path, pool: Pool) -> list[Row]:
    """Training rows of the slices before the one in `examples`: all, none, or the pool's; all of them still true."""
    if keep.rows == "none":
        return []
    if keep.rows == "all":
        slices = history(examples)
        valid = valid_facts(slices)
        return [row for each in slices[:-1] for row in still_true(each.train, valid)]
    return pool.rows(examples)


def keepable_rows(keep: Keep, rows: list[Row], pool: Pool) -> list[Row]:
    """Those of the rows, older and fresh, that the next slice may have as older ones: all, none, or what is pooled."""
    return pool.held(rows) if keep.rows == "capped" else rows if keep.rows == "all" else []


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
