"""What the product remembers of each user: one SQLite file, one valid value per user and key, and its history.

A write is acknowledged only when it is on disk (WAL with synchronous=FULL). Every query names the user, so that
one user's memories are never candidates for another.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tasks.errors import BadInput, Busy, Corrupt
from tasks.params import SLICE_NAME

SCHEMA = 1
WAIT_SECONDS = 10.0  # for another process's write

# A row without `replaced` is valid; the index lets a key have one valid value per user, whatever a caller does.
TABLES = """
CREATE TABLE memories (
  id INTEGER PRIMARY KEY,
  user TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  created TEXT NOT NULL, replaced TEXT
);
CREATE UNIQUE INDEX valid ON memories (user, key) WHERE replaced IS NULL;
"""


class Memory(NamedTuple):
    """One `[key: value]` and when it was said (ISO 8601, UTC)."""

    key: str
    value: str
    created: str = ""


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the store, made on first use, and close it at the end of the block.

    Raises:
        Corrupt: the file is no memory store.
        Busy: another process kept it locked for ten seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
    try:
        with _explained(path):
            _prepare(connection, path)
            yield connection
    finally:
        connection.close()


def remember(connection: sqlite3.Connection, user: str, key: str, value: str, now: datetime | None = None) -> bool:
    """Save a value; one that the key had before goes to the history.

    Returns:
        False if the key has this value already: nothing changes then.
    """
    created = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
    mine = (checked_user(user), key)
    with _writing(connection):
        query = "SELECT value FROM memories WHERE user = ? AND key = ? AND replaced IS NULL"
        if connection.execute(query, mine).fetchone() == (value,):
            return False
        connection.execute(
            "UPDATE memories SET replaced = ? WHERE user = ? AND key = ? AND replaced IS NULL", (created, *mine)
        )
        connection.execute(
            "INSERT INTO memories (user, key, value, created) VALUES (?, ?, ?, ?)", (*mine, value, created)
        )
    return True


def memories_of(connection: sqlite3.Connection, user: str) -> list[Memory]:
    """The user's valid memories, the oldest first: the only candidates for their messages."""
    query = "SELECT key, value, created FROM memories WHERE user = ? AND replaced IS NULL ORDER BY id"
    return [Memory(*row) for row in connection.execute(query, (checked_user(user),))]


def history_of(connection: sqlite3.Connection, user: str, key: str) -> list[Memory]:
    """All values that a key of this user ever had, the oldest first, the valid one last."""
    query = "SELECT key, value, created FROM memories WHERE user = ? AND key = ? ORDER BY id"
    return [Memory(*row) for row in connection.execute(query, (checked_user(user), key))]


def forget_all(connection: sqlite3.Connection, user: str) -> int:
    """Delete a user's memories with their history, overwriting the bytes.

    Returns:
        How many memories were valid.
    """
    with _writing(connection):
        valid = len(memories_of(connection, user))
        connection.execute("DELETE FROM memories WHERE user = ?", (user,))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log still held the deleted text
    return valid


def checked_user(user: str) -> str:
    """Return the name if it is a safe one.

    Raises:
        BadInput: it is not.
    """
    if not SLICE_NAME.fullmatch(user):
        raise BadInput(f"'{user}' can't be a user's name: use up to 64 letters, digits, '.', '_' and '-'.")
    return user


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    with _writing(connection):
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA:
            raise BadInput(f"{path} was written by a newer version of Perennial. Update it, or name another store.")
        if version < SCHEMA:
            for statement in TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA}")


@contextmanager
def _writing(connection: sqlite3.Connection) -> Iterator[None]:
    # IMMEDIATE takes the write lock before the first read: two writers can't both see the old value
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        raise Busy(f"{path} is in use by another process. Try again when it has finished.") from error
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise
        raise Corrupt(f"{path} is no readable memory store ({error}). Move it away or restore a copy.") from error
