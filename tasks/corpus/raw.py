"""Reads the files of a raw slice, line by line, and names every row that is not what it should be."""

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tasks.corpus.templates import Templates, read_templates
from tasks.errors import BadInput
from tasks.litter import is_litter

FILES = ("facts.csv", "memories.txt", "chat.jsonl", "examples.jsonl", "texts.jsonl")
RELATIONS = "relations.yaml"
MEMORY = re.compile(r"\[([^\[\]:]+): ([^\[\]]+)\] (.+)")
MAX_CHARACTERS = 20_000  # of one field: a slice is rows, not books


@dataclass(frozen=True)
class Problem:
    """One row that can't be used, and why."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.reason}" if self.line else f"{self.file}: {self.reason}"


Row = dict[str, str]
Numbered = tuple[int, Row]


@dataclass
class Raw:
    """A raw slice as it was read: rows with their line numbers."""

    facts: list[Numbered] = field(default_factory=list)
    memories: list[Numbered] = field(default_factory=list)
    chat: list[Numbered] = field(default_factory=list)
    examples: list[Numbered] = field(default_factory=list)
    texts: list[Numbered] = field(default_factory=list)
    templates: Templates | None = None
    problems: list[Problem] = field(default_factory=list)


def read_raw(folder: Path) -> Raw:
    """Read a slice's folder. What is wrong with a row stands in `problems`; nothing is raised for it."""
    raw = Raw()
    if not folder.is_dir():
        raw.problems.append(Problem(str(folder), 0, "there is no such folder."))
        return raw
    names = {path.name for path in files_of(folder)}
    for name in (*FILES, RELATIONS):
        if name not in names and os.path.lexists(folder / name):
            raw.problems.append(Problem(name, 0, "is no file, but a folder or a link that leads to none."))
    if not names & set(FILES):
        raw.problems.append(Problem(str(folder), 0, f"no data: give at least one of {', '.join(FILES)}."))
    for name in FILES:
        if name in names:
            rows = _rows(name, folder / name, raw.problems)
            setattr(raw, name.split(".")[0], rows)
    if RELATIONS in names:
        try:
            raw.templates = read_templates(folder / RELATIONS)
        except BadInput as error:
            raw.problems.append(Problem(RELATIONS, 0, str(error)))
    return raw


def files_of(folder: Path) -> list[Path]:
    """The files of a slice's folder: those that the formats name, whatever else lies there."""
    return [folder / name for name in (*FILES, RELATIONS) if (folder / name).is_file()]


def unknown_files(folder: Path) -> list[Problem]:
    """Files that nobody will read, such as a misspelt one; not what editors and desktops leave about."""
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir() if not path.is_dir() and not is_litter(path.name))
    known = {*FILES, RELATIONS}
    reason = f"unknown file. A slice has {', '.join(FILES)}, {RELATIONS}: rename it, or take it out."
    return [Problem(name, 0, reason) for name in names if name not in known]


def _rows(name: str, path: Path, problems: list[Problem]) -> list[Numbered]:
    text = _text(name, path, problems)
    rows: list[Numbered] = []
    count = 0
    for line, row in _PARSERS[name](text):
        count += 1
        reason = row if isinstance(row, str) else _unusable(row)
        if reason:
            problems.append(Problem(name, line, reason))
        else:
            assert isinstance(row, dict)
            rows.append((line, {key: value.strip() for key, value in row.items()}))
    if not count:
        problems.append(Problem(name, 0, "no rows. Leave the file out if there is nothing to say."))
    return rows


def _text(name: str, path: Path, problems: list[Problem]) -> str:
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")  # a byte-order mark from a spreadsheet
    good = []
    for number, line in enumerate(content.replace(b"\r\n", b"\n").split(b"\n"), start=1):
        try:
            good.append(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            problems.append(Problem(name, number, f"byte {error.start + 1} is no UTF-8. Save the file as UTF-8."))
            good.append("")
    return "\n".join(good)


def _unusable(row: Row) -> str | None:
    for key, value in row.items():
        if not value.strip():
            return f"'{key}' is empty."
        if len(value) > MAX_CHARACTERS:
            return f"'{key}' is longer than {MAX_CHARACTERS} characters."
        if any(ord(character) < 32 and character not in "\n\t" for character in value):
            return f"'{key}' contains a control character."
    return None


def _facts(text: str) -> Iterator[tuple[int, Row | str]]:
    columns = ["subject", "relation", "object"]
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = next(reader, [])
        if header != columns:
            yield 1, f"the header must be '{','.join(columns)}', not '{','.join(header)}'."
            return
        for values in reader:
            if not values:
                continue
            if len(values) != len(columns):
                yield (
                    reader.line_num,
                    f"{len(values)} fields instead of {len(columns)}. Quote a field that has a comma.",
                )
                continue
            yield reader.line_num, dict(zip(columns, values, strict=True))
    except csv.Error as error:
        yield reader.line_num, f"no CSV ({error})."


def _memories(text: str) -> Iterator[tuple[int, Row | str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        match = MEMORY.fullmatch(line.strip())
        yield (
            number,
            dict(zip(("key", "value", "message"), match.groups(), strict=True))
            if match
            else ("not of the form '[key: value] message'."),
        )


def _json_lines(required: tuple[str, ...]) -> Callable[[str], Iterator[tuple[int, Row | str]]]:
    def parse(text: str) -> Iterator[tuple[int, Row | str]]:
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield number, _json_row(line, required)

    return parse


def _json_row(line: str, required: tuple[str, ...]) -> Row | str:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        return f"no JSON ({error})."
    if not isinstance(row, dict) or set(row) != set(required):
        return f"not an object with exactly the keys {', '.join(required)}."
    for key, value in row.items():
        if not isinstance(value, str):
            return f"'{key}' is no text."
    if row.get("split", "train") not in ("train", "test"):
        return f"'split' is '{row['split']}', not 'train' or 'test'."
    return row


_PARSERS: dict[str, Callable[[str], Iterator[tuple[int, Row | str]]]] = {
    "facts.csv": _facts,
    "memories.txt": _memories,
    "chat.jsonl": _json_lines(("input", "output")),
    "examples.jsonl": _json_lines(("input", "target", "split")),
    "texts.jsonl": _json_lines(("text", "date")),
}
