"""The pool of what is kept of older slices: capped, and chosen anew after each slice from itself and what is new.

An item is a fact, which is told again in all its wordings when it is read, or a training row. A row is about no fact
and stands for all rows of its slice that say the same; or it comes from a pool of rows (`keep: {of: rows}`), and is
read as it is, whatever the pool is made of now.

Every item has a priority, a hash of the seed and its id. The items of the smallest priorities are a uniform sample
of all that were ever seen, as reservoir sampling (Vitter 1985) draws it, and no count of them is needed: as long
as the cap is no larger a share of the items than before, one that was dropped would not be chosen any more.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from tasks import artifact
from tasks.corpus.language import told_again
from tasks.corpus.slices import Examples, Row, language_of, slice_of
from tasks.params import Keep

POOL = "pool.jsonl"
SEEN = "pool.json"


@dataclass(frozen=True)
class Pool:
    """What is kept of older slices, and how many training rows have been seen so far."""

    items: list[Row] = field(default_factory=list)
    seen: int = 0

    @classmethod
    def load(cls, folder: Path) -> "Pool":
        """The pool in a model's folder of what its methods keep; an empty one, if there is none."""
        if not (folder / POOL).exists():
            return cls()
        return cls(artifact.read_rows(folder / POOL), int(artifact.read_json(folder / SEEN)["seen"]))

    def save(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        artifact.write_rows(folder / POOL, self.items)
        artifact.write_json(folder / SEEN, {"seen": self.seen})

    def without(self, gone: set[str]) -> "Pool":
        """The pool without the facts and rows of these ids, and without the rows about these facts."""
        return replace(self, items=[item for item in self.items if not _is_among(item, gone)])

    def after(self, examples: Examples, keep: Keep, seed: int) -> "Pool":
        """The pool once a slice was learnt: `keep.share` of all rows seen so far, counted in items."""
        seen = self.seen + len(examples.train)
        fresh = examples.train if keep.of == "rows" else facts_and_rows(examples)
        return Pool(pooled(self.items, fresh, max(1, int(keep.share * seen)), keep.choose, seed), seen)

    def rows(self, examples: Path) -> list[Row]:
        """The training rows: facts told again, from the templates of the slice in `examples` and older ones alone."""
        facts = [item for item in self.items if _is_fact(item)]
        others = [item for item in self.items if not _is_fact(item)]
        return [*told_again(facts, examples), *(row for item in others for row in _as_often(item))]

    def held(self, rows: list[Row]) -> list[Row]:
        """Those of the rows that can be had from the pool."""
        names = {name for item in self.items for name in _ids(item)}
        return [row for row in rows if _is_among(row, names)]


def facts_and_rows(examples: Examples) -> list[Row]:
    """What a slice brings: every fact that it tells, with the languages it tells it in, and its rows about none.

    What a fact replaced is left out: that must not be kept. Rows that say the same are one, with the ids of the others
    as `copies`: everyday talk has a row for each time that it is to be met, so that facts don't drown it.
    """
    languages: dict[str, list[str]] = {}
    for row in examples.train:
        if row["fact"] and language_of(row) not in languages.setdefault(row["fact"], []):
            languages[row["fact"]].append(language_of(row))
    facts = [
        {**{key: fact[key] for key in ("id", "subject", "relation", "object")}, "languages": languages[fact["id"]]}
        for fact in examples.facts
        if fact["id"] in languages
    ]
    alike: defaultdict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in examples.train:
        if not row["fact"]:
            alike[row["kind"], row["prompt"], row["target"]].append(row)
    return [*facts, *map(_as_one, alike.values())]


def pooled(before: list[Row], fresh: list[Row], capacity: int, choose: str, seed: int) -> list[Row]:
    """At most `capacity` of the pool's items and the new ones, ordered by id.

    Args:
        before: the pool so far.
        fresh: of the slice that was learnt.
        capacity: in items.
        choose: reservoir (uniform), by_slice (as many of each slice) or balanced (as many of each class: of each
            fact, in rows of each fact in each language, questions before statements, or of each target where there
            is no fact). What a small group leaves over goes to the others.
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
    """The fact itself; or a row's fact and language, which its id begins with (2021/2/en/question0); or its target."""
    if _is_fact(row):
        return f"fact {row['id']}"
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


def _as_one(rows: list[Row]) -> Row:
    first, *others = rows
    return {**first, "copies": [row["id"] for row in others]} if others else first


def _as_often(item: Row) -> list[Row]:
    row = {key: value for key, value in item.items() if key != "copies"}
    return [{**row, "id": name} for name in _ids(item)]


def _ids(item: Row) -> list[str]:
    return [item["id"], *item.get("copies", [])]


def _is_fact(item: Row) -> bool:
    return "object" in item


def _is_among(item: Row, ids: set[str]) -> bool:
    return item.get("fact") in ids or not ids.isdisjoint(_ids(item))
