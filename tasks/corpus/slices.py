"""The examples of a slice, on disk and in memory, and the chain that leads back to the oldest slice.

data/examples/2022 holds only what 2022 brought. previous.json names the slice before it and the SHA-256 of
that folder's manifest, so that one folder's hash stands for the whole history, at a cost that does not grow.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tasks import artifact
from tasks.corpus.erasure import digest, digest_of_plain
from tasks.corpus.everyday import Manner
from tasks.corpus.templates import Templates
from tasks.errors import Corrupt

Row = dict[str, Any]
TABLES = ("train", "test", "facts", "memories", "erased")
MANNERS = "manners.json"


@dataclass(frozen=True)
class Examples:
    """What one slice brought: rows as dictionaries, formats in docs/formats.md."""

    name: str = ""
    train: list[Row] = field(default_factory=list)
    test: list[Row] = field(default_factory=list)
    facts: list[Row] = field(default_factory=list)
    memories: list[Row] = field(default_factory=list)
    erased: list[Row] = field(default_factory=list)
    templates: Templates = field(default_factory=Templates)

    def save(self, folder: Path, previous: Path | None) -> None:
        """Write into `folder` (see artifact.writing), chained to the examples of the slice before."""
        for table in TABLES:
            artifact.write_rows(folder / f"{table}.jsonl", getattr(self, table))
        artifact.write_json(folder / "templates.json", self.templates.model_dump())
        link = {"slice": previous.name, "manifest": artifact.manifest_sum(previous)} if previous else None
        artifact.write_json(folder / "previous.json", link)


@dataclass(frozen=True)
class Undone:
    """What a slice erases of those before it: facts that were true, facts that are true again for it, other rows."""

    facts: list[Row] = field(default_factory=list)
    returned: list[Row] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @property
    def gone(self) -> set[str]:
        """The ids of the facts and of the other rows."""
        return {each["id"] for each in [*self.facts, *self.rows]}


def load_examples(folder: Path) -> Examples:
    """Read one slice's examples after checking every byte."""
    artifact.verified(folder)
    tables = {table: artifact.read_rows(folder / f"{table}.jsonl") for table in TABLES}
    templates = Templates.model_validate(artifact.read_json(folder / "templates.json"))
    return Examples(name=folder.name, templates=templates, **tables)


def history(folder: Path) -> list[Examples]:
    """The slices from the oldest to the one in `folder`, as if what any of them erases had never been given; what came
    before the oldest is not among them.

    Raises:
        Corrupt: an older slice is not the one that this slice was built after.
    """
    chain = [folder]
    while link := artifact.read_json(artifact.verified(chain[-1]) / "previous.json"):
        before = chain[-1].parent / link["slice"]
        if artifact.manifest_sum(artifact.verified(before)) != link["manifest"]:
            raise Corrupt(f"{before} changed after {chain[-1]} was built. Run `perennial run` to rebuild both.")
        chain.append(before)
    slices = [load_examples(each) for each in reversed(chain[:-1])]
    return never_given(slices, {row["digest"] for each in slices for row in each.erased})


def undone_by(folder: Path) -> Undone:
    """What the slice in `folder` erases of what was there before it came. Older slices are read only if it does so."""
    own = {row["digest"] for row in load_examples(folder).erased}
    link = artifact.read_json(folder / "previous.json")
    if not own or not link:
        return Undone()
    before = history(folder.parent / link["slice"])
    after = never_given(before, own)
    known, left = valid_facts(before), valid_facts(after)
    kept = {row["id"] for each in after for row in each.train}
    return Undone(
        facts=[fact for name, fact in known.items() if name not in left],
        returned=[fact for name, fact in left.items() if name not in known],
        rows=[row for each in before for row in each.train if not row["fact"] and row["id"] not in kept],
    )


def never_given(slices: list[Examples], gone: set[str]) -> list[Examples]:
    """The slices, oldest first, as if the rows of these hashes had never been given.

    A fact that overrode one of them overrides what that had overridden, or is a new one.
    """
    if not gone:
        return slices
    facts = [fact for each in slices for fact in each.facts if digest("facts.csv", fact) in gone]
    erased = {fact["id"]: fact for fact in facts}
    return [_without(each, gone, erased) for each in slices]


def _without(examples: Examples, gone: set[str], erased: dict[str, Row]) -> Examples:
    facts = {fact["id"]: _overriding(fact, erased) for fact in examples.facts if fact["id"] not in erased}
    changed = {fact["id"] for fact in examples.facts if facts.get(fact["id"], fact) != fact}

    def left(rows: list[Row]) -> list[Row]:
        return [row for row in rows if not (row["fact"] in erased if row["fact"] else digest_of_plain(row) in gone)]

    # what would be a stale answer now is not told: nobody asks for it
    test = [{**row, "stale": None} if row["fact"] in changed else row for row in left(examples.test)]
    memories = [row for row in examples.memories if digest("memories.txt", row) not in gone]
    return replace(examples, train=left(examples.train), test=test, facts=list(facts.values()), memories=memories)


def _overriding(fact: Row, erased: dict[str, Row]) -> Row:
    """The fact, with what it overrides if that was erased."""
    replaces = fact["replaces"]
    while replaces and replaces["id"] in erased:
        replaces = erased[replaces["id"]]["replaces"]
    if replaces == fact["replaces"]:
        return fact
    return {**fact, "replaces": replaces, "category": "updated" if replaces else "new"}


def templates_until(folder: Path) -> Templates:
    """All templates known at the slice in `folder`: a newer slice's own go before older ones."""
    return templates_by_slice(folder)[folder.name]


def templates_by_slice(folder: Path) -> dict[str, Templates]:
    """The templates known at each slice, from the oldest to the one in `folder`; none of their other files is read."""
    chain = [folder]
    while link := artifact.read_json(artifact.verified_file(chain[-1], "previous.json")):
        chain.append(folder.parent / link["slice"])
    known, found = Templates(), {}
    for each in reversed(chain):
        own = artifact.read_json(artifact.verified_file(each, "templates.json"))
        known = known.extended_by(Templates.model_validate(own))
        found[each.name] = known
    return found


def valid_facts(slices: list[Examples]) -> dict[str, Row]:
    """The facts, by id, that are still true after the last of the slices: no later one replaced them."""
    facts = {fact["id"]: fact for examples in slices for fact in examples.facts}
    for examples in slices:
        for gone in overridden_by(examples.facts):
            facts.pop(gone, None)
    return facts


def still_true(rows: list[Row], valid: dict[str, Row]) -> list[Row]:
    """The rows that no later fact has overridden: about a valid fact, or about none."""
    return [row for row in rows if row["fact"] is None or row["fact"] in valid]


def overridden_by(facts: list[Row]) -> set[str]:
    """The ids of the older facts that these replace."""
    return {fact["replaces"]["id"] for fact in facts if fact["replaces"]}


def load_manners(folder: Path) -> dict[str, Manner]:
    """How questions may be varied at the slice in `folder`, by language; empty for examples that do not say."""
    path = folder / MANNERS
    return {language: Manner(*manner) for language, manner in artifact.read_json(path).items()} if path.exists() else {}


def language_of(row: Row) -> str:
    """The language of a row about a fact: its id is <fact>/<language>/<kind>."""
    return str(row["id"]).split("/")[-2]


def slice_of(row: Row) -> str:
    """The slice that a row came with: its id begins with it."""
    return str(row["id"]).split("/", maxsplit=1)[0]
