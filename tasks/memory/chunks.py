"""What the product has read for a user: the passages of their documents, beside the memories in the same file."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from tasks.corpus.text import one_line
from tasks.memory.rows import Passage, chunk_rows, insert_chunk, stamp
from tasks.memory.schema import checked_user, erase, writing


class Chunk(NamedTuple):
    """A passage of a document; `place` counts from 1 within it."""

    id: int
    source: str
    place: int
    heading: str
    text: str

    @property
    def under_heading(self) -> str:
        """The passage with its headings before it: as it is ranked, since they say what it is about."""
        return f"{self.heading}: {self.text}" if self.heading else self.text


def learn(
    connection: sqlite3.Connection,
    user: str,
    source: str,
    digest: str,
    chunks: Sequence[tuple[str, str]],
    now: datetime | None = None,
) -> int:
    """Keep a document's passages in place of those that were kept of it before.

    Args:
        connection: the open store.
        user: whose document it is.
        source: its name.
        digest: the sum of its bytes.
        chunks: heading and text of each passage, in the document's order.
        now: when it was read.

    Returns:
        How many passages were kept; 0 if the document is known with these bytes: nothing changes then.
    """
    mine = (checked_user(user), source)
    created = stamp(now or datetime.now(UTC))
    with writing(connection):
        query = "SELECT digest FROM chunks WHERE user = ? AND source = ? LIMIT 1"
        if connection.execute(query, mine).fetchone() == (digest,):
            return 0
        connection.execute("DELETE FROM chunks WHERE user = ? AND source = ?", mine)
        for place, (heading, text) in enumerate(chunks, start=1):
            insert_chunk(connection, Passage(0, user, source, digest, place, heading, text, created))
    return len(chunks)


def chunks_of(connection: sqlite3.Connection, user: str) -> list[Chunk]:
    """The passages of the user's documents: the only candidates for their messages."""
    rows = chunk_rows(connection, "user = ? ORDER BY id", (checked_user(user),))
    return [Chunk(row.id, row.source, row.place, row.heading, row.text) for row in rows]


def forget_source(connection: sqlite3.Connection, user: str, source: str) -> int:
    """Delete a document's passages, overwriting the bytes.

    Returns:
        How many there were.
    """
    with writing(connection):
        query = "DELETE FROM chunks WHERE user = ? AND source = ?"
        count = connection.execute(query, (checked_user(user), one_line(source))).rowcount
    erase(connection)
    return count
