"""Reads the files of a raw slice, line by line, and names every row that is not what it should be.

This is the door: what passes is in the normal form of tasks/corpus/text.py, and how many lines were not is counted.
"""

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tasks.corpus.erasure import FIELDS
from tasks.corpus.templates import Templates, read_templates
from tasks.corpus.text import MAX_CHARACTERS, normal, one_line, shown, unfit
from tasks.errors import BadInput
from tasks.litter import is_litter
from tasks.utf8 import no_utf8, other_encoding, with_line_feeds

FILES = tuple(FIELDS)
RELATIONS = "relations.yaml"
ERASED = "erased.txt"  # written by `perennial erase`
MADE = "made.jsonl"  # written by `perennial add` of pages: where each row that it made is from; no step reads it
NAMES = (*FILES, RELATIONS, ERASED, MADE)
HASH = re.compile(r"([0-9a-f]{64}) (\S+)")
MEMORY = re.compile(r"\[([^\[\]:]+): ([^\[\]]+)\] (.+)")
ONE_LINE = ("facts.csv", "memories.txt")  # names, keys and values: several blanks are one
BYTE_ORDER_MARK = "\ufeff"
INTEGER_DIGITS = 18  # SQLite and 64 bits take those
# A field in quotes, and blanks behind it. Where quotes are not closed nothing behind them is a field in quotes.
QUOTED = re.compile(r'((?:^|(?<=,)) *"(?:[^"]|"")*+")(?: +(?=,|$))?', re.MULTILINE)


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
Parsed = Iterator[tuple[int, Row | str | None]]  # line, and the row, or why it is none; None: a header once more


@dataclass
class Raw:
    """A raw slice as it was read: rows with their line numbers, and how many lines of a file were changed for it."""

    facts: list[Numbered] = field(default_factory=list)
    memories: list[Numbered] = field(default_factory=list)
    chat: list[Numbered] = field(default_factory=list)
    examples: list[Numbered] = field(default_factory=list)
    texts: list[Numbered] = field(default_factory=list)
    erased: list[Numbered] = field(default_factory=list)
    templates: Templates | None = None
    problems: list[Problem] = field(default_factory=list)
    normalised: dict[str, int] = field(default_factory=dict)


def read_raw(folder: Path) -> Raw:
    """Read a slice's folder. What is wrong with a row stands in `problems`; nothing is raised for it."""
    raw = Raw(problems=wrong_names(folder))
    names = {path.name for path in files_of(folder)}
    for name in (*FILES, ERASED):
        if name in names:
            setattr(raw, name.split(".")[0], _rows(name, folder / name, raw))
    if RELATIONS in names:
        try:
            raw.templates = read_templates(folder / RELATIONS)
        except BadInput as error:
            reason = str(error).removeprefix(str(folder / RELATIONS)).lstrip(":, ")
            raw.problems.append(Problem(RELATIONS, 0, reason))
        else:
            if changed := _lines(RELATIONS, folder / RELATIONS, raw.problems)[1]:
                raw.normalised[RELATIONS] = len(changed)
    return raw


def wrong_names(folder: Path) -> list[Problem]:
    """What is wrong with a slice's folder before any of its files is read."""
    if not folder.is_dir():
        return [Problem(str(folder), 0, "there is no such folder.")]
    names = {path.name for path in files_of(folder)}
    problems = [
        Problem(name, 0, "is no file, but a folder or a link that leads to none.")
        for name in NAMES
        if name not in names and os.path.lexists(folder / name)
    ]
    if not names & set(FILES):
        problems.append(Problem(str(folder), 0, f"no data: give at least one of {', '.join(FILES)}."))
    return problems


def files_of(folder: Path) -> list[Path]:
    """The files of a slice's folder: those that the formats name, whatever else lies there."""
    return [folder / name for name in NAMES if (folder / name).is_file()]


def unknown_files(folder: Path) -> list[Problem]:
    """Files that nobody will read, such as a misspelt one; not what editors and desktops leave about."""
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir() if not path.is_dir() and not is_litter(path.name))
    reason = f"unknown file. A slice has {', '.join(FILES)}, {RELATIONS}: rename it, or take it out."
    return [Problem(name, 0, reason) for name in names if name not in NAMES]


def _rows(name: str, path: Path, raw: Raw) -> list[Numbered]:
    found: list[Problem] = []
    lines, changed = _lines(name, path, found)
    raw.problems.extend(found)
    if not lines:
        return []
    undecoded = {problem.line for problem in found}
    form = one_line if name in ONE_LINE else normal
    rows: list[Numbered] = []
    count = 0
    for line, row in _PARSERS[name]("\n".join(lines)):
        if row is None:
            changed.add(line)
            continue
        count += 1
        if line in undecoded:
            continue
        clean = row if isinstance(row, str) else _usable(row, form)
        if isinstance(clean, str):
            raw.problems.append(Problem(name, line, clean))
            continue
        assert isinstance(row, dict)
        rows.append((line, clean))
        if any(clean[key] != value.strip(" \t\n") for key, value in row.items()):
            changed.add(line)
    if not count:
        raw.problems.append(Problem(name, 0, "no rows. Leave the file out if there is nothing to say."))
    if changed:
        raw.normalised[name] = len(changed)
    return rows


def _lines(name: str, path: Path, problems: list[Problem]) -> tuple[list[str], set[int]]:
    """The file's lines, none if it can't be read, and the numbers of those that were not in normal form.

    What is not seen must not decide what a line is either: a byte-order mark before a bracket, an odd blank before a
    quote. JSON is written by programs: of its lines only byte-order marks are taken out, its texts come later. A
    byte-order mark at the beginning of the file says how it is encoded: it is no text, and not counted.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        problems.append(Problem(name, 0, f"can't be read ({error.strerror})."))
        return [], set()
    if reason := other_encoding(content):
        problems.append(Problem(name, 0, reason))
        return [], set()
    lines, changed = [], set()
    for number, line in enumerate(with_line_feeds(content).split(b"\n"), start=1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            problems.append(Problem(name, number, no_utf8(error.start + 1)))
            text = line.decode("utf-8", "replace")  # its quotes and commas count for the lines around
        if name.endswith(".jsonl"):
            lines.append(text.replace(BYTE_ORDER_MARK, ""))
        else:
            text = text.strip(" \t")
            lines.append(normal(text).replace("\n", " "))
        if lines[-1] != text:
            changed.add(number)
    return lines, changed


def _usable(row: Row, form: Callable[[str], str]) -> Row | str:
    """The row in normal form, or why it can't be used."""
    clean = {}
    for key, value in row.items():
        clean[key] = form(value)
        if not clean[key]:
            return f"'{key}' is empty."
        if reason := unfit(clean[key]):
            return f"'{key}' {reason}"
    return clean


def _facts(text: str) -> Parsed:
    columns = list(FIELDS["facts.csv"])
    # a blank around quotes is no part of the field; a tab is a blank
    text = QUOTED.sub(r"\1", text.replace("\t", " "))
    begin = text[: len(text) - len(text.lstrip("\n"))].count("\n") + 1
    reader = csv.reader(io.StringIO(text), strict=True, skipinitialspace=True)
    try:
        header = [value.strip() for value in next((values for values in reader if values), [])]
        if header != columns:
            yield begin, f"the header must be '{','.join(columns)}', not '{shown(','.join(header))}'."
            return
        begin = reader.line_num + 1
        for values in reader:
            if len(values) == len(columns):
                row = dict(zip(columns, values, strict=True))
                # of files that were joined the header stands there again
                yield reader.line_num, None if [value.strip() for value in values] == columns else row
            elif values:
                mend = "Quote a field that has a comma." if len(values) > len(columns) else "Write all of them."
                yield reader.line_num, f"{len(values)} fields instead of {len(columns)}. {mend}"
            begin = reader.line_num + 1
    except csv.Error as error:
        yield begin, _no_csv(str(error), several_lines=reader.line_num > begin)


def _no_csv(reason: str, several_lines: bool) -> str:
    if "end of data" in reason or ("limit" in reason and several_lines):
        return "a quote begins a field here, and none ends it. Close it; a quote within quotes is written twice."
    if "limit" in reason:  # csv's own, above ours
        return f"a field is longer than {MAX_CHARACTERS} characters."
    return f"no CSV ({reason}). Put a field that has a quote in quotes, and write the quote twice."


def _memories(text: str) -> Parsed:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line:
            continue
        match = MEMORY.fullmatch(line)
        keys = FIELDS["memories.txt"]
        row = dict(zip(keys, match.groups(), strict=True)) if match else "not of the form '[key: value] message'."
        yield number, row


def _hashes(text: str) -> Parsed:
    for number, line in enumerate(text.split("\n"), start=1):
        if line:
            match = HASH.fullmatch(line)
            known = match and match[2] in FILES
            yield (
                number,
                dict(zip(("digest", "file"), match.groups(), strict=True))
                if match and known
                else ("no hash and file as `perennial erase` writes them."),
            )


def _json_lines(required: tuple[str, ...]) -> Callable[[str], Parsed]:
    def parse(text: str) -> Parsed:
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield number, _json_row(line, required)

    return parse


def json_object(line: str) -> dict[str, Any] | str:
    """The object that a line of JSON is, or why it can't be used."""
    try:
        row = json.loads(line, object_pairs_hook=_once, parse_int=_integer, parse_constant=_no_number)
    except RecursionError:
        return "no JSON that can be read: it is nested too deeply."
    except ValueError as error:
        return f"no JSON ({_reason(error)})."
    return row if isinstance(row, dict) else "no JSON object."


def json_texts(line: str, keys: tuple[str, ...]) -> Row | str:
    """The object of just these keys and texts that a line of JSON is, or why it can't be used."""
    row = json_object(line)
    if isinstance(row, str):
        return row
    if set(row) != set(keys):
        return f"not an object with exactly the key{'s' if len(keys) > 1 else ''} {', '.join(keys)}."
    for key, value in row.items():
        if not isinstance(value, str):
            return f"'{key}' is no text."
    return row


def _json_row(line: str, required: tuple[str, ...]) -> Row | str:
    row = json_texts(line, required)
    if isinstance(row, str):
        return row
    if row.get("split", "train") not in ("train", "test"):
        return f"'split' is '{shown(row['split'])}', not 'train' or 'test'."
    return row


def _reason(error: ValueError) -> str:
    """Without the parser's line: it counts lines within the one that it was given."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' at')} at column {error.colno}"
    return str(error)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key '{shown(twice)}' is given twice")
    return row


def _integer(digits: str) -> int | float:
    """A number; as an integer Python refuses one of more than 4,300 digits, and nothing here needs so many."""
    return int(digits) if len(digits) <= INTEGER_DIGITS else float(digits)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON's")


_PARSERS: dict[str, Callable[[str], Parsed]] = {
    "facts.csv": _facts,
    "memories.txt": _memories,
    "chat.jsonl": _json_lines(("input", "output")),
    "examples.jsonl": _json_lines(("input", "target", "split")),
    "texts.jsonl": _json_lines(("text", "date")),
    ERASED: _hashes,
}
