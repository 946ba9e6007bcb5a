"""A user's memories as a file, and back: JSON lines with a checksum, or an old list of `[key: value]` lines.

    {"kind": "header", "format": "perennial memories", "version": 1, "user": "ann"}
    {"kind": "memory", "key": "home town", "value": "Cork", "created": "2024-05-01T12:00:00+00:00", ...}
    {"kind": "chunk", "source": "notes.md", "place": 1, "heading": "Travel", "text": "...", ...}
    {"kind": "end", "sha256": "..."}

The history is part of it. The last line has the SHA-256 of all bytes before it. An export, imported for the same user
into an empty store and exported again, has the same bytes.
"""

import codecs
import hashlib
import json
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from tasks.corpus.check import listing
from tasks.corpus.raw import Problem
from tasks.corpus.text import one_line, typed, unfit
from tasks.errors import BadInput, Corrupt
from tasks.memory.damage import intact
from tasks.memory.lines import FORMAT, VERSION, MemoryLine, contents_of, moment_of, version_of
from tasks.memory.parts import MAX_KEY, MAX_VALUE, split_answer
from tasks.memory.rows import Passage, Row, change, chunk_rows, insert_chunk, insert_memory, memory_rows, new_row, stamp
from tasks.memory.schema import checked_user, writing
from tasks.memory.store import make_room, trim_history
from tasks.utf8 import content_of, refuse_binary

NOT_A_MEMORY = f"not of the form '[key: value]', key up to {MAX_KEY} characters, value up to {MAX_VALUE}."
LEFT_OUT = {"id", "user", "folded", "text"}  # of a memory: SQLite's, the header's, made of key and value


class Exported(NamedTuple):
    """A user's memories as text, how many rows are in it, how many were lost to damage."""

    text: str
    memories: int
    chunks: int
    lost: int


class Imported(NamedTuple):
    """How many rows an import wrote; what was there already is not written again."""

    memories: int
    chunks: int


def exported(connection: sqlite3.Connection, user: str) -> Exported:
    """All that is kept of a user, as it can be read: a damaged row is left out and counted."""
    memories, lost_memories = intact(connection, memory_rows, "memories", checked_user(user))
    chunks, lost_chunks = intact(connection, chunk_rows, "chunks", user)
    lines: list[dict[str, Any]] = [{"kind": "header", "format": FORMAT, "version": VERSION, "user": user}]
    for memory in _one_valid(memories):
        columns = {name: value for name, value in memory._asdict().items() if name not in LEFT_OUT}
        lines.append({"kind": "memory", **columns, "pinned": bool(memory.pinned)})
    for chunk in chunks:
        columns = {name: value for name, value in chunk._asdict().items() if name not in ("id", "user")}
        lines.append({"kind": "chunk", **columns})
    body = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    end = _end(hashlib.sha256(body.encode()).hexdigest())
    return Exported(f"{body}{end}\n", len(memories), len(chunks), len(lost_memories) + len(lost_chunks))


def imported(connection: sqlite3.Connection, user: str, path: Path, now: datetime | None = None) -> Imported:
    """Take over an export, or a list of `[key: value]` lines, all of it or nothing.

    Where a key has a value already, the one that was said later is valid and the other goes to the history. An old
    list says nothing of when its lines were said: they count as said when the file was last changed, in its order.

    Args:
        connection: the open store.
        user: for whom; whoever's name is in the file.
        path: the file.
        now: in the user's time zone.

    Raises:
        BadInput: lines are not what they should be, each named; or there is no room.
        Corrupt: an export was changed or cut off.
    """
    checked_user(user)
    now = now or datetime.now().astimezone()
    content = content_of(path).removeprefix(codecs.BOM_UTF8)
    refuse_binary(path, content)
    if content.lstrip().startswith(b"{"):
        memories, chunks = _exported_rows(content, user, path)
    else:
        memories, chunks = _listed_rows(content, user, path, _changed(path, now)), []
    if not memories and not chunks:
        raise BadInput(f"{path} holds no memories. Name a file that `perennial memory export` wrote, or a list.")
    with writing(connection):
        written = Imported(_add_memories(connection, user, memories), _add_chunks(connection, user, chunks))
        make_room(connection, user, now, wanted=0)
        trim_history(connection, user)
    return written


def _exported_rows(content: bytes, user: str, path: Path) -> tuple[list[Row], list[Passage]]:
    *lines, end = content.removesuffix(b"\n").split(b"\n")
    version = version_of(lines[0]) if lines else None
    if version and version > VERSION:
        raise BadInput(f"{path} was exported by a newer version of Perennial. Update it.")
    digest = hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()
    if end.decode(errors="replace") != _end(digest):
        if FORMAT.encode() not in content:
            raise BadInput(f"{path} is neither an export of memories nor a list of '[key: value]' lines.")
        raise Corrupt(f"{path} was changed or cut off since it was exported. Nothing is imported; use another copy.")
    found = contents_of(lines, path.name)
    if found.problems:
        raise BadInput(
            "Nothing is imported. `perennial memory export` writes no such lines: mend what wrote them, "
            f"or export again.\n{listing(found.problems)}"
        )
    chunks = [
        Passage(0, user, line.source, line.digest, line.place, line.heading, line.text, stamp(line.created))
        for line in found.chunks
    ]
    return [_memory(line, user) for line in found.memories], chunks


def _listed_rows(content: bytes, user: str, path: Path, said: datetime) -> list[Row]:
    rows, problems = [], []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            text = one_line(line.decode())
        except UnicodeDecodeError as error:
            problems.append(Problem(path.name, number, f"byte {error.start + 1} is no UTF-8. Save the file as UTF-8."))
            continue
        if not text:
            continue
        rest, memory, _ = split_answer(text)
        if reason := unfit(text):
            problems.append(Problem(path.name, number, reason))
        elif memory and not rest:
            rows.append(new_row(user, *memory, said, source=typed(path.name)))
        else:
            problems.append(Problem(path.name, number, NOT_A_MEMORY))
    if problems:
        raise BadInput(f"Nothing is imported:\n{listing(problems)}")
    return rows


def _changed(path: Path, now: datetime) -> datetime:
    """When a file was changed last."""
    try:
        changed = datetime.fromtimestamp(path.stat().st_mtime, now.tzinfo)
        moment_of(changed.isoformat())
    except (ValueError, OverflowError) as error:
        raise BadInput(f"{path} was last changed in no year that can be reckoned with. `touch` it.") from error
    return changed


def _add_memories(connection: sqlite3.Connection, user: str, rows: list[Row]) -> int:
    known = {(row.folded, row.value, row.created) for row in memory_rows(connection, "user = ?", (user,))}
    fresh = [row for row in rows if (row.folded, row.value, row.created) not in known]
    return sum(_add_memory(connection, row) for row in fresh)


def _add_memory(connection: sqlite3.Connection, row: Row) -> bool:
    """Write a row; of two valid values of a key the one that was said later stays valid."""
    condition = "user = ? AND folded = ? AND expires IS ? AND replaced IS NULL"
    valid = next(memory_rows(connection, condition, (row.user, row.folded, row.expires)), None)
    if valid and row.replaced is None:
        if valid.value == row.value:
            return False
        if valid.created > row.created:
            row = row._replace(replaced=valid.created)
        else:
            change(connection, valid, replaced=row.created)
            row = row._replace(pinned=max(row.pinned, valid.pinned))
    insert_memory(connection, row)
    return True


def _add_chunks(connection: sqlite3.Connection, user: str, rows: list[Passage]) -> int:
    documents: dict[str, list[Passage]] = {}
    for row in rows:
        documents.setdefault(row.source, []).append(row)
    written = 0
    for source, passages in documents.items():
        known = next(chunk_rows(connection, "user = ? AND source = ? LIMIT 1", (user, source)), None)
        if known and (known.digest == passages[0].digest or known.created > passages[0].created):
            continue
        connection.execute("DELETE FROM chunks WHERE user = ? AND source = ?", (user, source))
        for place, passage in enumerate(passages, start=1):
            insert_chunk(connection, passage._replace(place=place))
        written += len(passages)
    return written


def _memory(line: MemoryLine, user: str) -> Row:
    expires, replaced, used = (stamp(moment) if moment else None for moment in (line.expires, line.replaced, line.used))
    row = new_row(user, line.key, line.value, line.created, line.source)
    return row._replace(expires=expires, pinned=int(line.pinned), replaced=replaced, encoder=line.encoder, used=used)


def _one_valid(rows: list[Row]) -> list[Row]:
    """The rows of a store whose index was damaged, too: of a key's valid values the one that was said last stays so."""
    newest: dict[tuple[str, str | None], Row] = {}
    for row in rows:
        slot = row.folded, row.expires
        if row.replaced is None and (slot not in newest or newest[slot].created <= row.created):
            newest[slot] = row
    return [
        row if row.replaced or newest[row.folded, row.expires] is row
        else row._replace(replaced=newest[row.folded, row.expires].created)
        for row in rows
    ]  # fmt: skip


def _end(digest: str) -> str:
    return json.dumps({"kind": "end", "sha256": digest})
