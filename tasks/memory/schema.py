"""Opens the memory store: one SQLite file, its tables, what they were before, and its faults as sentences."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tasks.errors import BadInput, Busy
from tasks.memory.faults import explained, file_of
from tasks.memory.rows import insert_memory, new_row
from tasks.params import SLICE_NAME

SCHEMA = 2
WAIT_SECONDS = 10.0  # for another process's write
MEMORIES_PER_USER = 10_000
OWNER_ONLY = 0o600

# A row without `replaced` is valid. The index `valid` lets a key have one valid value per user, whatever a caller does;
# a key that speaks of a day has one per day: today's "내일 일정" and yesterday's, which is now called "오늘 일정".
# An id is never given twice, so that what is kept elsewhere under an id can't become another memory's.
TABLES = """
CREATE TABLE memories (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  user TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, text TEXT NOT NULL,
  created TEXT NOT NULL, expires TEXT, source TEXT NOT NULL,
  encoder TEXT, used TEXT, pinned INTEGER NOT NULL, replaced TEXT, sum TEXT NOT NULL
);
CREATE UNIQUE INDEX valid ON memories (user, key, ifnull(expires, '')) WHERE replaced IS NULL;
CREATE INDEX memories_by_user ON memories (user, replaced);
CREATE INDEX memories_by_key ON memories (user, key);
CREATE TABLE chunks (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  user TEXT NOT NULL, source TEXT NOT NULL, digest TEXT NOT NULL, place INTEGER NOT NULL,
  heading TEXT NOT NULL, text TEXT NOT NULL, created TEXT NOT NULL, sum TEXT NOT NULL
);
CREATE UNIQUE INDEX chunks_by_user ON chunks (user, source, place);
"""


@contextmanager
def opened(path: Path, limit: int = MEMORIES_PER_USER) -> Iterator[sqlite3.Connection]:
    """Open the store, made on first use, and close it at the end of the block.

    Args:
        path: the SQLite file.
        limit: how many valid memories a user may have. The connection carries it: in SQL it is `memory_limit()`.

    Raises:
        BadInput: it can't be read or written here, or a newer version wrote it.
        Corrupt: the file is no memory store, or damaged.
        Busy: another process kept it locked for ten seconds.
    """
    _make_private(path)
    with explained(str(path)):
        connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
    try:
        connection.create_function("memory_limit", 0, lambda: limit)
        with explained(str(path)):
            _prepare(connection, path)
        yield connection
    finally:
        connection.close()


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction: all that is written in the block is on disk at its end, or none of it.

    IMMEDIATE takes the write lock before the first read: two writers can't both see the old value.
    """
    with explained(file_of(connection)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk has ended it already
                connection.execute("ROLLBACK")
            raise


def erase(connection: sqlite3.Connection) -> None:
    """Overwrite what was deleted: write the file anew, and empty its log.

    secure_delete alone isn't enough: when SQLite moves rows between pages it leaves copies of them behind. Writing
    anew takes about 0.15 s per 10 MB, in which no one else can write.

    Raises:
        Busy: another process reads from the log.
    """
    with explained(file_of(connection)):
        connection.execute("VACUUM")
        in_use = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if in_use:
        raise Busy(
            "It is forgotten, but another process still reads the store, and its log holds the deleted text. "
            "Forget again when that has finished."
        )


def checked_user(user: str) -> str:
    """Return the name if it is a safe one.

    Raises:
        BadInput: it is not.
    """
    if not SLICE_NAME.fullmatch(user):
        raise BadInput(f"'{user}' can't be a user's name: use up to 64 letters, digits, '.', '_' and '-'.")
    return user


def _make_private(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(OWNER_ONLY)  # SQLite gives its log the same permissions
    except OSError as error:
        raise BadInput(
            f"{path} can't be made ({error.strerror}). Name another place, or see to its permissions."
        ) from error


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    if _version(connection) == SCHEMA:
        return
    with writing(connection):
        version = _version(connection)  # another process may have been first
        if version > SCHEMA:
            raise BadInput(f"{path} was written by a newer version of Perennial. Update it, or name another store.")
        if version < SCHEMA:
            _migrate(connection, version)
            connection.execute(f"PRAGMA user_version = {SCHEMA}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    """Make the tables; fill them from those of schema 1 (id, user, key, value, created, replaced)."""
    if version == 1:
        connection.execute("ALTER TABLE memories RENAME TO memories_1")
        connection.execute("DROP INDEX valid")
    for statement in TABLES.split(";"):
        connection.execute(statement)
    if version == 1:
        for user, key, value, created, replaced in connection.execute(
            "SELECT user, key, value, created, replaced FROM memories_1 ORDER BY id"
        ):
            said = datetime.fromisoformat(created).astimezone()  # schema 1 kept no zone: this machine's
            insert_memory(connection, new_row(user, key, value, said)._replace(created=created, replaced=replaced))
        connection.execute("DROP TABLE memories_1")
