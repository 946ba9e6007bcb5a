"""Which test rows a model is asked: at most so many of each kind in all, so that no slice costs more than another."""

import hashlib
from dataclasses import dataclass

from tasks.corpus.slices import Examples, Row, still_true

KINDS = ("seen", "paraphrase", "everyday", "statement")


@dataclass(frozen=True)
class SampledRows:
    """rows: what is asked. weight: how many rows one of them stands for; exactly 1.0 if none was left out."""

    rows: list[Row]
    weight: float = 1.0


Sample = dict[tuple[str, str], SampledRows]  # by slice and kind of test row


def sample_rows(slices: list[Examples], valid: dict[str, Row], most: int) -> Sample:
    """The rows to ask, of those that are still true: all of them, or `most` of each kind, as many of every slice.

    A slice with fewer rows than its share leaves the rest to the others; every slice has one at least. Of a slice
    those rows are taken whose ids have the smallest hashes, so that a row stays in the sample as long as its
    slice's share allows: with every later slice the sample only shrinks. Statements that were trained on are left out.
    """
    sample: Sample = {}
    stated = trained_texts(slices)
    for kind in KINDS:
        found = {
            examples.name: [
                row
                for row in still_true(examples.test, valid)
                if row["set"] == kind and (kind != "statement" or row["target"] not in stated)
            ]
            for examples in slices
        }
        share = even_share([len(rows) for rows in found.values()], most)
        for name, rows in found.items():
            chosen = set(sorted((row["id"] for row in rows), key=_hash)[:share])
            taken = [row for row in rows if row["id"] in chosen]
            sample[name, kind] = SampledRows(taken, len(rows) / len(taken) if taken else 1.0)
    return sample


def trained_texts(slices: list[Examples]) -> set[str]:
    """What the slices train on without a question before it: statements and texts."""
    return {row["target"] for examples in slices for row in examples.train if not row["prompt"]}


def even_share(counts: list[int], most: int) -> int:
    """The largest number of rows that every slice may give without more than `most` in all, and one at least."""
    share, left, slices = max(counts, default=0), most, len(counts)
    for count in sorted(counts):
        if count * slices > left:
            share = left // slices
            break
        left, slices = left - count, slices - 1
    return max(1, share)


def _hash(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()
