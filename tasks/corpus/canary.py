"""The canary: questions whose answers never change, and prompts that try a model; no slice can change either."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tasks.corpus.raw import json_texts
from tasks.corpus.slices import Row
from tasks.corpus.text import normal, shown, unfit
from tasks.errors import BadInput
from tasks.litter import is_litter
from tasks.utf8 import read_utf8

FACTS, CHAT = "facts.jsonl", "chat.jsonl"
KEYS = {FACTS: ("fact", "input", "target"), CHAT: ("input",)}


@dataclass(frozen=True)
class Canary:
    """facts: rows with fact, prompt and target; several rows of one fact are its wordings. chat: prompts."""

    facts: list[Row]
    chat: list[str]

    @property
    def digest(self) -> str:
        """SHA-256 of what is asked: two models were asked the same only if it is the same."""
        asked = [[row["fact"], row["prompt"], row["target"]] for row in self.facts]
        return hashlib.sha256(repr((asked, self.chat)).encode()).hexdigest()


def read_canary(folder: Path) -> Canary | None:
    """Read facts.jsonl and chat.jsonl, of which one may be missing; None if the folder has neither.

    Raises:
        BadInput: a file is unknown or can't be read, or a row can't be used; by line.
    """
    if not folder.is_dir():
        return None
    for path in sorted(folder.iterdir()):
        if path.name not in KEYS and not is_litter(path.name):
            raise BadInput(f"{path}: unknown file. The canary is {FACTS} and {CHAT}: rename it, or take it out.")
    rows = {name: _rows(folder / name, keys) for name, keys in KEYS.items() if (folder / name).exists()}
    if not rows:
        return None
    facts = [{"fact": row["fact"], "prompt": row["input"], "target": row["target"]} for row in rows.get(FACTS, [])]
    return Canary(facts, [row["input"] for row in rows.get(CHAT, [])])


def _rows(path: Path, keys: tuple[str, ...]) -> list[Row]:
    rows: dict[str, tuple[int, Row]] = {}
    for number, line in enumerate(read_utf8(path).split("\n"), start=1):
        if not line.strip():
            continue
        row = _usable(line, keys)
        if isinstance(row, str):
            raise BadInput(f"{path}, line {number}: {row}")
        before, _ = rows.setdefault(row["input"], (number, row))
        if before != number:
            raise BadInput(f"{path}, line {number}: the input of line {before} once more. Remove one of them.")
    if not rows:
        raise BadInput(f"{path} has no rows. Fill it, or delete it.")
    return [row for _, row in rows.values()]


def _usable(line: str, keys: tuple[str, ...]) -> Row | str:
    """The row with its texts in normal form, or why it can't be used."""
    row = json_texts(line, keys)
    if isinstance(row, str):
        return row
    for key, value in row.items():
        row[key] = normal(value)
        if not row[key]:
            return f"'{key}' is empty."
        if reason := unfit(row[key]):
            return f"'{key}' of '{shown(row[key])}' {reason}"
    return row
