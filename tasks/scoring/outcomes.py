"""Which test rows a model answered rightly, row by row, so that two models can be compared on what both were asked.

A row is named by its id and a digest of its question and answer, 2021/7/en/seen#1f3a9c0b: a row that was edited, or
another fact on the same line, is another row.
"""

import hashlib
from collections.abc import Iterable

from tasks.corpus.slices import Examples, Row
from tasks.scoring.knowledge import QUESTIONS, Knowledge

Outcomes = dict[str, bool]
DIGEST = 8  # hexadecimal digits


def outcomes_of(known: Knowledge, chat: Iterable[tuple[Row, bool]]) -> Outcomes:
    """Every test row that was asked (in training's wording, reworded, everyday; chat), and whether it was right."""
    answered = [(row["id"], row, right) for row, right, _ in known.of(*QUESTIONS)]
    answered += [(_without_copy(row["id"]), row, right) for row, right in chat]
    return {f"{identity}#{_digest(row)}": right for identity, row, right in answered}


def facts_behind(known: Knowledge, current: Examples) -> dict[str, int]:
    """How many facts stand behind each share that the gate judges; a row about no fact counts as one.

    The wordings of one fact are right or wrong together more often than not, so facts are what is counted.
    """
    updated = {fact["id"] for fact in current.facts if fact["category"] == "updated"}
    own = {row["id"] for row in current.test}
    both = [row for row, *_ in known.of("seen", "paraphrase")]
    groups: dict[str, Iterable[Row]] = {
        "own": [row for row, *_ in known.answers[current.name, "seen"]],
        "reworded": [row for row, *_ in known.answers[current.name, "paraphrase"]],
        "new": [row for row in both if row["id"] in own and row["fact"] not in updated],
        "updated": [row for row in both if row["fact"] in updated],
        "stale": [row for row, *_ in known.of("stale")],
    }
    return {name: len({row["fact"] or row["id"] for row in rows}) for name, rows in groups.items()}


def fact_of(row: str) -> str:
    """The fact that a row of the outcomes is about: 2021/7 of 2021/7/en/seen#1f3a9c0b; of one about none, the row."""
    parts = row.split("#", maxsplit=1)[0].split("/")
    return "/".join(parts[:2]) if parts[1].isdigit() else row


def is_chat(row: str) -> bool:
    """Whether a row of the outcomes is everyday talk, 2020/chat/7#..."""
    return row.split("/")[1] == "chat"


def is_clean(row: str) -> bool:
    """Whether it is asked in training's wording or reworded, as the categories count."""
    return not is_chat(row) and _kind(row) != "everyday"


def is_reworded(row: str) -> bool:
    """Whether it was asked in a wording that no fact like it is trained in; a user's own test rows are all so."""
    return is_clean(row) and _kind(row) != "seen"


def _kind(row: str) -> str:
    return row.split("#", maxsplit=1)[0].rsplit("/", maxsplit=1)[-1]


def _without_copy(identity: str) -> str:
    return identity.rsplit("/", maxsplit=1)[0]


def _digest(row: Row) -> str:
    return hashlib.sha256(f"{row['prompt']}\n{row['target']}".encode()).hexdigest()[:DIGEST]
