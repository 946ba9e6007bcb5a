"""Opens the memory store: one SQLite file, its tables, what they were before, and its faults as sentences."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks.corpus.text import folded
from tasks.errors import BadInput, Busy, Corrupt
from tasks.memory.faults import IN_USE, explained, file_of
from tasks.memory.rows import Row, change, content_sum, insert_memory, memory_rows, new_row
from tasks.params import SLICE_NAME

SCHEMA = 3
WAIT_SECONDS = 10.0  # for another process's write
MEMORIES_PER_USER = 10_000
OWNER_ONLY = 0o600

# A row without `replaced` is valid. The index `valid` lets a key have one valid value per user, whatever a caller does,
# and however the key is written: `folded` is the same for all its cases, widths and forms. A key that speaks of a day
# has one per day: today's "내일 일정" and yesterday's, which is now called "오늘 일정".
# An id is never given twice, so that what is kept elsewhere under an id can't become another memory's.
TABLES = """
CREATE TABLE memories (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  user TEXT NOT NULL, key TEXT NOT NULL, folded TEXT NOT NULL, value TEXT NOT NULL, text TEXT NOT NULL,
  created TEXT NOT NULL, expires TEXT, source TEXT NOT NULL,
  encoder TEXT, used TEXT, pinned INTEGER NOT NULL, replaced TEXT, sum TEXT NOT NULL
);
CREATE INDEX memories_by_user ON memories (user, replaced);
CREATE TABLE chunks (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  user TEXT NOT NULL, source TEXT NOT NULL, digest TEXT NOT NULL, place INTEGER NOT NULL,
  heading TEXT NOT NULL, text TEXT NOT NULL, created TEXT NOT NULL, sum TEXT NOT NULL
);
CREATE UNIQUE INDEX chunks_by_user ON chunks (user, source, place);
"""
BY_KEY = """
CREATE UNIQUE INDEX valid ON memories (user, folded, ifnull(expires, '')) WHERE replaced IS NULL;
CREATE INDEX memories_by_key ON memories (user, folded);
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
    _use_log(connection)
    for pragma in ("synchronous = FULL", "secure_delete = ON"):
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


def _use_log(connection: sqlite3.Connection) -> None:
    """Change to a write-ahead log. For this lock SQLite does not wait, however long its timeout is."""
    give_up = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in IN_USE or time.monotonic() > give_up:
                raise
            time.sleep(0.01)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    """Make the tables, or make them of an older schema's."""
    if version == 1:
        connection.execute("ALTER TABLE memories RENAME TO memories_1")
    if version:
        connection.execute("DROP INDEX valid")
    if version == 2:
        _fold_keys(connection)
    else:
        _execute(connection, TABLES)
    if version == 1:
        _take_over(connection)
    if version:
        _leave_one_valid(connection)
    _execute(connection, BY_KEY)


def _execute(connection: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";"):
        connection.execute(statement)


def _take_over(connection: sqlite3.Connection) -> None:
    """Fill the tables from those of schema 1 (id, user, key, value, created, replaced)."""
    for user, key, value, created, replaced in connection.execute(
        "SELECT user, key, value, created, replaced FROM memories_1 ORDER BY id"
    ):
        said = datetime.fromisoformat(created).astimezone()  # schema 1 kept no zone: this machine's
        insert_memory(connection, new_row(user, key, value, said)._replace(created=created, replaced=replaced))
    connection.execute("DROP TABLE memories_1")


def _fold_keys(connection: sqlite3.Connection) -> None:
    """Add to schema 2 the form in which keys are compared. A damaged row stays one, and is found by `verify`."""
    connection.execute("DROP INDEX memories_by_key")
    connection.execute("ALTER TABLE memories ADD COLUMN folded TEXT NOT NULL DEFAULT ''")
    columns = [name for name in Row._fields if name not in ("id", "folded")]
    # bytes: a text that is no UTF-8 any more is damage, too, and must not keep the others from their place
    connection.text_factory = bytes
    rows = connection.execute(f"SELECT id, sum, {', '.join(columns)} FROM memories").fetchall()
    connection.text_factory = str
    for number, total, *content in rows:
        texts: list[Any] = [each.decode(errors="replace") if isinstance(each, bytes) else each for each in content]
        user, key, *rest = texts
        form = folded(key)
        if content_sum(texts) == total.decode(errors="replace"):
            change(connection, Row(number, user, key, form, *rest), folded=form)
        else:
            connection.execute("UPDATE memories SET folded = ? WHERE id = ?", (form, number))


def _leave_one_valid(connection: sqlite3.Connection) -> None:
    """Of keys that count as one only the value that was said last stays valid; it has their pin."""
    valid = (
        "SELECT id, user, folded, expires, created, pinned FROM memories WHERE replaced IS NULL ORDER BY created, id"
    )
    slots: dict[tuple[str, str, str | None], list[tuple[int, str, int]]] = {}
    for number, user, form, expires, created, pinned in connection.execute(valid).fetchall():
        slots.setdefault((user, form, expires), []).append((number, created, pinned))
    for slot in slots.values():
        *older, (newest, since, _) = slot
        for number, _, _ in older:
            _mend(connection, number, replaced=since)
        if older:
            _mend(connection, newest, pinned=max(pinned for _, _, pinned in slot))


def _mend(connection: sqlite3.Connection, number: int, **changes: Any) -> None:
    """Change a row; a damaged one stays damaged."""
    try:
        change(connection, *memory_rows(connection, "id = ?", (number,)), **changes)
    except Corrupt:
        columns = ", ".join(f"{name} = ?" for name in changes)
        connection.execute(f"UPDATE memories SET {columns} WHERE id = ?", (*changes.values(), number))
