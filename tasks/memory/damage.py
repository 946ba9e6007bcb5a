"""What of a damaged store can still be read: everything is asked for row by row, and what fails is counted."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple, TypeVar

from tasks.errors import Corrupt
from tasks.memory.rows import Passage, Row, Values, chunk_rows, memory_rows

NAMED = 10  # ids in a sentence at most

AnyRow = TypeVar("AnyRow", Row, Passage)
Read = Callable[[sqlite3.Connection, str, Values], Iterator[AnyRow]]


class Verified(NamedTuple):
    """What `verify` found."""

    problems: list[str]  # a sentence each; none: all is well
    memories: Counter[str]  # by user: how many can be read, history included
    chunks: Counter[str]


def verify(connection: sqlite3.Connection) -> Verified:
    """Check the file's pages, every row's sum, and that each key has one valid value; nothing is raised for damage."""
    problems = list(_page_problems(connection))
    memories, lost_memories = intact(connection, memory_rows, "memories")
    chunks, lost_chunks = intact(connection, chunk_rows, "chunks")
    for table, lost in (("memories", lost_memories), ("chunks", lost_chunks)):
        if lost:
            named = ", ".join(map(str, lost[:NAMED])) + (", ..." if len(lost) > NAMED else "")
            problems.append(f"{len(lost)} of {table} can't be read or were changed: {named}.")
    slots = Counter((row.user, row.folded, row.expires) for row in memories if row.replaced is None)
    for (user, key, _), count in slots.items():
        if count > 1:
            problems.append(f"'{key}' of {user} has {count} valid values.")
    return Verified(problems, Counter(row.user for row in memories), Counter(row.user for row in chunks))


def intact(
    connection: sqlite3.Connection, read: Read[AnyRow], table: str, user: str | None = None
) -> tuple[list[AnyRow], list[int]]:
    """Every row of a table that can be read and is what was written, by id.

    Args:
        connection: the open store, damaged or not.
        read: memory_rows or chunk_rows.
        table: of these rows.
        user: whose; None for all.

    Returns:
        The rows, and the ids of those that are lost.
    """
    rows: list[AnyRow] = []
    lost: list[int] = []
    for number in sorted(_ids(connection, table, user)):
        found: list[AnyRow] = []
        with suppress(sqlite3.DatabaseError, Corrupt):
            found = list(read(connection, "id = ?", (number,)))
        if not found:
            lost.append(number)
        elif user in (None, found[0].user):
            rows += found
    return rows, lost


def _ids(connection: sqlite3.Connection, table: str, user: str | None) -> set[int]:
    """What the table and its index know of ids: where one is damaged, the other may not be."""
    ids: set[int] = set()
    whose, values = ("WHERE user = ?", (user,)) if user else ("", ())
    for way in ("NOT INDEXED", f"INDEXED BY {table}_by_user"):
        with suppress(sqlite3.DatabaseError):
            for (number,) in connection.execute(f"SELECT id FROM {table} {way} {whose}", values):
                ids.add(number)
    return ids


def _page_problems(connection: sqlite3.Connection) -> Iterator[str]:
    try:
        for (line,) in connection.execute(f"PRAGMA integrity_check({NAMED})"):
            if line != "ok":
                yield line
    except sqlite3.DatabaseError as error:
        yield f"{error}."
