"""The rows of the store: each carries a sum over its content and is checked against it whenever it is read."""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tasks.corpus.cartesian import memory_text
from tasks.corpus.text import folded, one_line
from tasks.errors import Corrupt
from tasks.memory.days import expiry
from tasks.memory.faults import VERIFY, explained, file_of

Values = Sequence[Any] | dict[str, Any]  # what takes the place of ? or :name

SUM_DIGITS = 16  # 64 bits of the SHA-256: against decay, not against forgers


class Row(NamedTuple):
    """A row of `memories`, without its sum. Times are ISO 8601, UTC."""

    id: int
    user: str
    key: str  # as it was said
    folded: str  # the key in the form in which keys are compared
    value: str
    text: str
    created: str
    expires: str | None
    source: str
    pinned: int
    replaced: str | None  # since when it is history; None: valid
    encoder: str | None  # the manifest sum of the encoder that embedded it last
    used: str | None  # when it was retrieved last


class Passage(NamedTuple):
    """A row of `chunks`, without its sum."""

    id: int
    user: str
    source: str
    digest: str
    place: int
    heading: str
    text: str
    created: str


MEMORY_COLUMNS, CHUNK_COLUMNS = ", ".join(Row._fields), ", ".join(Passage._fields)


def new_row(user: str, key: str, value: str, said: datetime, source: str = "chat") -> Row:
    """A valid memory as it is written, in normal form: `said` is in the user's time zone."""
    key, value = one_line(key), one_line(value)
    over = expiry(key, said)
    expires = stamp(over) if over else None
    text = memory_text((key, value))
    return Row(0, user, key, folded(key), value, text, stamp(said), expires, source, 0, None, None, None)


def stamp(moment: datetime) -> str:
    """A moment as the store keeps it: UTC, to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def content_sum(content: Iterable[Any]) -> str:
    """The first 64 bits of the SHA-256 of a row's content, as hexadecimal."""
    return hashlib.sha256("\x1f".join(map(str, content)).encode()).hexdigest()[:SUM_DIGITS]


def memory_rows(connection: sqlite3.Connection, condition: str, values: Values) -> Iterator[Row]:
    """The memories under an SQL condition, checked.

    Raises:
        Corrupt: a row is not what was written, or can't be read.
    """
    return map(Row._make, _checked(connection, f"SELECT {MEMORY_COLUMNS}, sum FROM memories WHERE {condition}", values))


def chunk_rows(connection: sqlite3.Connection, condition: str, values: Values) -> Iterator[Passage]:
    """The chunks under an SQL condition, checked.

    Raises:
        Corrupt: a row is not what was written, or can't be read.
    """
    return map(
        Passage._make, _checked(connection, f"SELECT {CHUNK_COLUMNS}, sum FROM chunks WHERE {condition}", values)
    )


def valid_rows(connection: sqlite3.Connection, user: str) -> list[Row]:
    """The user's valid memories, those that are over by the clock included, by id.

    Raises:
        Corrupt: a row is not what was written, can't be read, or is missing.
    """
    condition = "user = ? AND replaced IS NULL"
    with explained(file_of(connection)):
        connection.execute("BEGIN")  # both look at the same moment
        try:
            rows = list(memory_rows(connection, f"{condition} ORDER BY id", (user,)))
            # a damaged page of an index can hide rows without an error: another index must know as many
            query = f"SELECT count(*) FROM memories INDEXED BY valid WHERE {condition}"
            count = connection.execute(query, (user,)).fetchone()[0]
        finally:
            connection.execute("ROLLBACK")
    if len(rows) != count:
        raise Corrupt(f"{file_of(connection)} is damaged: of {count} rows of {user} it finds {len(rows)}. {VERIFY}")
    return rows


def insert_memory(connection: sqlite3.Connection, row: Row) -> None:
    """Write a row under a new id."""
    _insert(connection, "memories", (*Row._fields[1:], "sum"), (*row[1:], content_sum(row[1:])))


def insert_chunk(connection: sqlite3.Connection, row: Passage) -> None:
    """Write a row under a new id."""
    _insert(connection, "chunks", (*Passage._fields[1:], "sum"), (*row[1:], content_sum(row[1:])))


def change(connection: sqlite3.Connection, row: Row, **changes: Any) -> None:
    """Write changes of a memory that was read, and so was checked: its sum changes with them."""
    names = ", ".join(f"{name} = ?" for name in (*changes, "sum"))
    total = content_sum(row._replace(**changes)[1:])
    connection.execute(f"UPDATE memories SET {names} WHERE id = ?", (*changes.values(), total, row.id))


def _insert(connection: sqlite3.Connection, table: str, columns: Sequence[str], values: Sequence[Any]) -> None:
    marks = ", ".join("?" * len(columns))
    connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values)


def _checked(connection: sqlite3.Connection, query: str, values: Values) -> Iterator[tuple[Any, ...]]:
    with explained(file_of(connection)):
        for number, *content, total in connection.execute(query, values):
            if content_sum(content) != total:
                raise Corrupt(
                    f"{file_of(connection)} is damaged: row {number} was changed since it was written. {VERIFY}"
                )
            yield number, *content
