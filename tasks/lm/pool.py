"""The pool of old rows that may be kept: capped, and chosen anew after each slice from itself and the new rows.

Every row has a priority, a hash of the seed and its id. The rows of the smallest priorities are a uniform sample
of all that were ever seen, as reservoir sampling (Vitter 1985) draws it, and no count of them is needed: as long
as the cap is no larger a share of the rows than before, a row that was dropped would not be chosen any more.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable

from tasks.corpus.slices import Row, slice_of


def pooled(before: list[Row], fresh: list[Row], capacity: int, choose: str, seed: int) -> list[Row]:
    """At most `capacity` of the pool's rows and the new ones, ordered by id.

    Args:
        before: the pool so far.
        fresh: the rows of the slice that was learnt.
        capacity: in rows.
        choose: reservoir (uniform), by_slice (as many of each slice) or balanced (as many of each class: of each
            fact in each language, questions before statements, or of each target where there is no fact). What a
            small group leaves over goes to the others.
        seed: of the priorities; keep it from slice to slice.
    """
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in [*before, *fresh]:
        groups[GROUPS[choose](row)].append(row)
    turns = []  # every group gives one row, then every group a second one, ...
    for name, members in groups.items():
        told = choose == "balanced"  # a question teaches more than a statement of the same fact
        members.sort(key=lambda row: (told and not row.get("prompt"), _priority(seed, str(row["id"]))))
        turns += [(turn, _priority(seed, name), row) for turn, row in enumerate(members)]
    turns.sort(key=lambda each: each[:2])
    return sorted((row for *_, row in turns[:capacity]), key=lambda row: str(row["id"]))


def _class_of(row: Row) -> str:
    """The row's fact and language, which its id begins with (2021/2/en/question0); or its target."""
    if row["fact"] is None:
        return f"target {row['target']}"
    return f"fact {str(row['id']).rpartition('/')[0]}"


GROUPS: dict[str, Callable[[Row], str]] = {
    "reservoir": lambda row: "",
    "by_slice": slice_of,
    "balanced": _class_of,
}


def _priority(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()
