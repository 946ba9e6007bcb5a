"""The lines of an export: what each may hold, in the normal form of tasks/corpus/text.py, and what is wrong with one.

A line may hold what the chat, a list or `perennial learn` can have brought. A document may speak of the template's
markers; a key or a value may not.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tasks.corpus.raw import Problem, json_object
from tasks.corpus.text import MAX_CHARACTERS, folded, normal, one_line, shown, unfit, unreadable
from tasks.memory.neutral import visible
from tasks.memory.parts import MAX_KEY, MAX_VALUE
from tasks.memory.rows import stamp

FORMAT, VERSION = "perennial memories", 1
FIRST_YEAR, LAST_YEAR = 1900, 9998  # from here a day can be reckoned on, in every zone
MAX_PLACE = 10**9
REASONS = {  # pydantic's kinds of errors
    "missing": "is missing.",
    "string_type": "is no text.",
    "int_type": "is no whole number.",
    "bool_type": "is neither true nor false.",
    "greater_than_equal": "is less than 1.",
    "less_than_equal": f"is more than {MAX_PLACE:,}.",
}

AnyLine = TypeVar("AnyLine", bound="Line")


def _text(
    longest: int = MAX_CHARACTERS,
    form: Callable[[str], str] = one_line,
    fault: Callable[[str], str | None] = unreadable,
    empty: bool = False,
) -> AfterValidator:
    def checked(text: str) -> str:
        clean = form(text) if len(text) <= MAX_CHARACTERS else text
        if len(clean) > longest:
            raise ValueError(f"is longer than {longest:,} characters.")
        if reason := fault(clean):
            raise ValueError(reason)
        if not clean and not empty:
            raise ValueError("is empty.")
        return clean

    return AfterValidator(checked)


def moment_of(value: object) -> datetime:
    """A moment as it is written: ISO 8601, with a zone.

    Raises:
        ValueError: it is none, or no day can be reckoned from it.
    """
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("is no date and time, such as 2024-05-01T12:00:00+00:00.") from None
    if moment.tzinfo is None:
        raise ValueError("has no time zone, such as +00:00 at its end.")
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"is not in the years {FIRST_YEAR} to {LAST_YEAR}.")
    return moment


Name = Annotated[str, _text()]
Moment = Annotated[datetime, BeforeValidator(moment_of)]
PerhapsMoment = Annotated[datetime | None, BeforeValidator(lambda value: None if value is None else moment_of(value))]


class Line(BaseModel):
    """A line of an export."""

    model_config = ConfigDict(frozen=True, strict=True)


class HeaderLine(Line):
    kind: Literal["header"]
    format: Literal["perennial memories"]
    version: Annotated[int, Field(ge=1)]
    user: Name


class MemoryLine(Line):
    kind: Literal["memory"]
    key: Annotated[str, _text(MAX_KEY, fault=unfit)]
    value: Annotated[str, _text(MAX_VALUE, fault=unfit)]
    created: Moment
    expires: PerhapsMoment
    source: Name
    pinned: bool
    replaced: PerhapsMoment
    encoder: Name | None
    used: PerhapsMoment

    @model_validator(mode="after")
    def ends_after_it_began(self) -> Self:
        if self.expires and self.expires <= self.created:
            raise ValueError("'expires' is not after 'created'.")
        return self


class ChunkLine(Line):
    kind: Literal["chunk"]
    source: Name
    digest: Name
    place: Annotated[int, Field(ge=1, le=MAX_PLACE)]
    heading: Annotated[str, _text(form=normal, empty=True)]
    text: Annotated[str, _text(form=normal)]
    created: Moment


class Contents(NamedTuple):
    """The lines of an export that can be used, and what is wrong with the others."""

    memories: list[MemoryLine]
    chunks: list[ChunkLine]
    problems: list[Problem]


def contents_of(lines: list[bytes], file: str) -> Contents:
    """Read the lines of an export, header and all but its end.

    Args:
        lines: without line ends.
        file: how it is called in a sentence.
    """
    found = Contents([], [], [])
    first: dict[tuple[str, ...], int] = {}  # where something stands that may stand but once
    for number, line in enumerate(lines, start=1):
        try:
            row = _object(line)
            if number == 1:
                if row.get("kind") != "header":
                    raise ValueError("'kind' is not 'header', as it is in an export's first line.")
                _valid(HeaderLine, row)
            elif row.get("kind") == "memory":
                memory = _valid(MemoryLine, row)
                _check_memory(memory, first, number)
                found.memories.append(memory)
            elif row.get("kind") == "chunk":
                chunk = _valid(ChunkLine, row)
                _check_chunk(chunk, first, number)
                found.chunks.append(chunk)
            else:
                raise ValueError("'kind' is neither 'memory' nor 'chunk'.")
        except ValueError as error:
            found.problems.append(Problem(file, number, str(error)))
    return found


def version_of(line: bytes) -> int | None:
    """The version that an export's header names; None if the line is no such header."""
    try:
        row = _object(line)
    except ValueError:
        return None
    version = row.get("version")
    return version if row.get("format") == FORMAT and type(version) is int else None


def _object(line: bytes) -> dict[str, Any]:
    try:
        row = json_object(line.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is no UTF-8.") from None
    if isinstance(row, str):
        raise ValueError(row)
    return row


def _valid(kind: type[AnyLine], row: dict[str, Any]) -> AnyLine:
    if unknown := [name for name in row if name not in kind.model_fields]:
        raise ValueError(f"'{shown(visible(unknown[0]))}' is no field of such a line.")
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        reason = REASONS.get(first["type"]) or f"{first['msg'].removeprefix('Value error, ').removesuffix('.')}."
        reason = reason.removeprefix("Input ")  # should be 'header'
        raise ValueError(f"'{first['loc'][0]}' {reason}" if first["loc"] else reason) from None


def _check_memory(memory: MemoryLine, first: dict[tuple[str, ...], int], number: int) -> None:
    """Of a key and a day, one value is valid."""
    if memory.replaced:
        return
    slot = ("memory", folded(memory.key), stamp(memory.expires) if memory.expires else "")
    if (line := first.setdefault(slot, number)) != number:
        raise ValueError(f"'{memory.key}' has a valid value in line {line} already.")


def _check_chunk(chunk: ChunkLine, first: dict[tuple[str, ...], int], number: int) -> None:
    """Of a document, one passage stands in a place, and all are of the same reading."""
    line = first.setdefault(("chunk", chunk.source, str(chunk.place)), number)
    if line != number:
        raise ValueError(f"passage {chunk.place} of '{chunk.source}' stands in line {line} already.")
    line = first.setdefault(("source", chunk.source), number)
    if first.setdefault(("digest", chunk.source, chunk.digest), number) != line:
        raise ValueError(f"'{chunk.source}' has another 'digest' than in line {line}.")
