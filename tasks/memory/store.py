"""What the product remembers of each user: one SQLite file, one valid value per user and key, and its history.

A write is acknowledged only when it is on disk (WAL with synchronous=FULL). Every query names the user, so that
one user's memories are never candidates for another. Every row is checked against its sum when it is read.

A user has a limited number of valid memories (10,000): beyond it those that are over go to the history first, then the
least recently used; pinned ones stay. The history has the same limit; what was replaced first is deleted first. What is
over by the clock is only left out, never deleted, so that a clock that was wrong for a while loses nothing.

10,000 memories of a user are read and checked in about 60 ms of processor time; writing one takes less than 1 ms, and
about 4 ms once the limit is reached; forgetting writes the whole file anew.
"""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from tasks.corpus.cartesian import memory_text
from tasks.corpus.text import folded, one_line
from tasks.errors import BadInput
from tasks.memory.chunks import Chunk, chunks_of, forget_source, learn
from tasks.memory.days import earlier_names, key_now
from tasks.memory.rows import Row, change, insert_memory, memory_rows, new_row, stamp, valid_rows
from tasks.memory.schema import checked_user, erase, opened, writing

__all__ = [
    "Chunk", "Memory", "checked_user", "chunks_of", "embedded", "forget", "forget_all", "forget_source", "history_of",
    "learn", "memories_of", "opened", "pin", "remember", "touch",
]  # fmt: skip

OVER = "expires IS NOT NULL AND expires <= :now"


class Memory(NamedTuple):
    """One `[key: value]`, when it was said and until when it holds (ISO 8601, UTC).

    `text` is what is retrieved and put before a message; it names a day as of now, as `key` does.
    """

    key: str
    value: str
    created: str = ""
    id: int = 0
    text: str = ""
    expires: str | None = None
    source: str = "chat"
    pinned: bool = False


def remember(
    connection: sqlite3.Connection,
    user: str,
    key: str,
    value: str,
    now: datetime | None = None,
    source: str = "chat",
) -> bool:
    """Save a value; one that the key had before goes to the history, and leaves its pin to the new one.

    Args:
        connection: the open store.
        user: whose memory it is.
        key: may speak of a day, see days.py.
        value: what is remembered.
        now: in the user's time zone.
        source: where it comes from: the chat, a file.

    Returns:
        False if the key has this value already: nothing changes then.

    Raises:
        BadInput: the user has as many memories as are allowed, and all are pinned.
    """
    now = now or _here()
    row = new_row(checked_user(user), key, value, now, source)
    with writing(connection):
        current = current_rows(connection, user, key, now)
        if current and current[-1].value == row.value:
            return False
        make_room(connection, user, now, wanted=0 if current else 1)
        for older in current:
            change(connection, older, replaced=row.created)
        insert_memory(connection, row._replace(pinned=max((older.pinned for older in current), default=0)))
        trim_history(connection, user)
    return True


def memories_of(connection: sqlite3.Connection, user: str, now: datetime | None = None) -> list[Memory]:
    """The user's valid memories, the oldest first: the only candidates for their messages.

    Args:
        connection: the open store.
        user: whose.
        now: in the user's time zone: keys that speak of a day are called what they are called then.
    """
    now = now or _here()
    memories: dict[str, Memory] = {}
    for row in valid_rows(connection, checked_user(user)):
        key = _key_now(row, now)
        if key is None:
            continue
        name = folded(key)
        # a journey or an import can bring two days under one name: what was said later wins
        if name not in memories or memories[name].created <= row.created:
            memories[name] = _memory(row, key)
    return list(memories.values())


def history_of(connection: sqlite3.Connection, user: str, key: str, now: datetime | None = None) -> list[Memory]:
    """All values that a key of this user ever had, the oldest first, the valid one last, under the keys of their time.

    오늘 일정 finds what was said as 내일 일정, too: of valid memories the one that is called so now, of past ones all.
    """
    now = now or _here()
    return [_memory(row, row.key) for row in _rows_called(connection, user, key) if _belongs(row, key, now)]


def forget(connection: sqlite3.Connection, user: str, key: str, now: datetime | None = None) -> int:
    """Delete what `history_of` lists, overwriting the bytes.

    Returns:
        How many values were deleted, past ones included.
    """
    now = now or _here()
    with writing(connection):
        known = [(row.id,) for row in _rows_called(connection, user, key) if _belongs(row, key, now)]
        connection.executemany("DELETE FROM memories WHERE id = ?", known)
    erase(connection)
    return len(known)


def forget_all(connection: sqlite3.Connection, user: str) -> int:
    """Delete a user's memories with their history, and what was learnt from documents, overwriting the bytes.

    Returns:
        How many memories were valid.
    """
    now = {"user": checked_user(user), "now": stamp(_here())}
    valid = f"SELECT count(*) FROM memories WHERE user = :user AND replaced IS NULL AND NOT ({OVER})"
    with writing(connection):
        count = int(connection.execute(valid, now).fetchone()[0])
        for table in ("memories", "chunks"):  # a damaged index could hide rows
            connection.execute(f"DELETE FROM {table} NOT INDEXED WHERE user = ?", (user,))
    erase(connection)
    return count


def pin(connection: sqlite3.Connection, user: str, key: str, pinned: bool = True, now: datetime | None = None) -> bool:
    """Keep a memory, and what replaces it, from being moved out by newer ones; or no longer.

    Returns:
        False if nothing is remembered under the key.
    """
    with writing(connection):
        current = current_rows(connection, user, key, now or _here())
        for row in current:
            change(connection, row, pinned=int(pinned))
    return bool(current)


def touch(connection: sqlite3.Connection, user: str, ids: Sequence[int], now: datetime | None = None) -> None:
    """Note that memories were retrieved: they are not the least recently used then."""
    _note(connection, user, ids, used=stamp(now or _here()))


def embedded(connection: sqlite3.Connection, user: str, ids: Sequence[int], encoder_sum: str) -> None:
    """Note which encoder embedded memories last."""
    _note(connection, user, ids, encoder=encoder_sum)


def current_rows(connection: sqlite3.Connection, user: str, key: str, now: datetime) -> list[Row]:
    """The valid memories that are called so now, the newest last: one, but for a user who has changed time zones."""
    called = _rows_called(connection, user, key)
    return [row for row in called if row.replaced is None and _is_called(row, key, now)]


def make_room(connection: sqlite3.Connection, user: str, now: datetime, wanted: int) -> None:
    """Move memories to the history until `wanted` new ones have a place.

    Raises:
        BadInput: all others are pinned.
    """
    values = {"user": user, "now": stamp(now)}
    limit = _limit(connection)
    valid = connection.execute("SELECT count(*) FROM memories WHERE user = ? AND replaced IS NULL", (user,)).fetchone()
    surplus = max(0, valid[0] + wanted - limit)
    if surplus:
        condition = (
            f"user = :user AND replaced IS NULL AND (NOT pinned OR {OVER}) "
            f"ORDER BY {OVER} DESC, ifnull(used, created), id LIMIT :surplus"
        )
        leaving = list(memory_rows(connection, condition, {**values, "surplus": surplus}))
        if len(leaving) < surplus:
            raise BadInput(
                f"{user} has {limit:,} memories, as many as are allowed, and all are pinned. Unpin one "
                "(`perennial memory pin --off KEY`), forget one, or raise `memories` under `chat` in params.yaml."
            )
        for row in leaving:
            change(connection, row, replaced=values["now"])


def trim_history(connection: sqlite3.Connection, user: str) -> None:
    """Delete what was replaced first of what the history has too much."""
    connection.execute(
        "DELETE FROM memories WHERE id IN (SELECT id FROM memories WHERE user = ? AND replaced IS NOT NULL "
        "ORDER BY replaced DESC, id DESC LIMIT -1 OFFSET ?)",
        (user, _limit(connection)),
    )


def _limit(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT memory_limit()").fetchone()[0])


def _note(connection: sqlite3.Connection, user: str, ids: Sequence[int], **changes: str) -> None:
    checked_user(user)
    with writing(connection):
        for number in ids:
            for row in memory_rows(connection, "id = ? AND user = ?", (number, user)):
                change(connection, row, **changes)


def _rows_called(connection: sqlite3.Connection, user: str, key: str) -> list[Row]:
    names = list(map(folded, earlier_names(one_line(key))))
    condition = f"user = ? AND folded IN ({', '.join('?' * len(names))}) ORDER BY id"
    return list(memory_rows(connection, condition, (checked_user(user), *names)))


def _belongs(row: Row, key: str, now: datetime) -> bool:
    return row.replaced is not None or _key_now(row, now) is None or _is_called(row, key, now)


def _is_called(row: Row, key: str, now: datetime) -> bool:
    """Whether the memory has this key now, however the two are written."""
    name = _key_now(row, now)
    return name is not None and folded(name) == folded(key)


def _key_now(row: Row, now: datetime) -> str | None:
    return key_now(row.key, datetime.fromisoformat(row.expires), now) if row.expires else row.key


def _memory(row: Row, key: str) -> Memory:
    text = row.text if key == row.key else memory_text((key, row.value))
    return Memory(key, row.value, row.created, row.id, text, row.expires, row.source, bool(row.pinned))


def _here() -> datetime:
    return datetime.now().astimezone()
