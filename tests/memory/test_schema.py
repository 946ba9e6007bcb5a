import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from random import Random

import pytest

from tasks.errors import BadInput, Busy, Corrupt
from tasks.memory import schema
from tasks.memory.damage import verify
from tasks.memory.rows import content_sum, insert_memory, memory_rows, new_row
from tasks.memory.schema import SCHEMA, writing
from tasks.memory.store import (
    chunks_of,
    forget,
    forget_all,
    forget_source,
    history_of,
    learn,
    memories_of,
    opened,
    remember,
    touch,
)
from tasks.memory.transfer import exported

NOON = datetime(2024, 5, 6, 12, tzinfo=timezone(timedelta(hours=9)))
SCHEMA_1 = """
CREATE TABLE memories (
  id INTEGER PRIMARY KEY,
  user TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  created TEXT NOT NULL, replaced TEXT
);
CREATE UNIQUE INDEX valid ON memories (user, key) WHERE replaced IS NULL;
PRAGMA user_version = 1;
"""
ROWS_1 = [
    ("ann", "home town", "Cork", "2024-05-01T12:00:00+00:00", "2024-05-02T12:00:00+00:00"),
    ("bob", "home town", "Paris", "2024-05-01T13:00:00+00:00", None),
    ("ann", "home town", "Leeds", "2024-05-02T12:00:00+00:00", None),
    ("ann", "오늘 일정", "치과", "2024-05-02T12:00:00+00:00", None),
]


@pytest.fixture
def old_store(tmp_path):
    """A file of schema 1, with two users and a history."""
    connection = sqlite3.connect(tmp_path / "m.db")
    connection.executescript(SCHEMA_1)
    insert = "INSERT INTO memories (user, key, value, created, replaced) VALUES (?, ?, ?, ?, ?)"
    connection.executemany(insert, ROWS_1)
    connection.commit()
    connection.close()
    return tmp_path / "m.db"


def test_a_store_of_schema_1_is_migrated_and_nothing_is_lost(old_store):
    with opened(old_store) as connection:
        rows = list(memory_rows(connection, "1 ORDER BY id", ()))
        assert [(row.user, row.key, row.value, row.created, row.replaced) for row in rows] == ROWS_1
        assert [memory.value for memory in history_of(connection, "ann", "home town")] == ["Cork", "Leeds"]
        said = datetime(2024, 5, 2, 12, tzinfo=UTC)
        assert memories_of(connection, "ann", said)[-1].text == "[오늘 일정: 치과]"
        assert [memory.value for memory in memories_of(connection, "ann")] == ["Leeds"]  # that day is over
        assert remember(connection, "ann", "home town", "Rome")
    with opened(old_store) as connection:  # the second time there is nothing to migrate
        assert [memory.value for memory in memories_of(connection, "ann")] == ["Rome"]


def test_a_migration_that_is_cut_off_leaves_the_old_store(old_store, monkeypatch):
    def cut_off(connection, row):
        if row.value == "Leeds":
            raise KeyboardInterrupt
        insert_memory(connection, row)

    with monkeypatch.context() as patched:
        patched.setattr(schema, "insert_memory", cut_off)
        with pytest.raises(KeyboardInterrupt), opened(old_store):
            pass
    connection = sqlite3.connect(old_store)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT user, key, value, created, replaced FROM memories").fetchall() == ROWS_1
    connection.close()
    with opened(old_store) as connection:
        assert len(list(memory_rows(connection, "1", ()))) == len(ROWS_1)


SCHEMA_2 = """
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
PRAGMA user_version = 2;
"""
COLUMNS_2 = "user, key, value, text, created, expires, source, pinned, replaced, encoder, used"
DAYS = [f"2024-05-0{day}T12:00:00+00:00" for day in range(1, 6)]


def row_2(key, value, created, replaced=None, pinned=0, user="ann"):
    return user, key, value, f"[{key}: {value}]", created, None, "chat", pinned, replaced, None, None


def store_2(path, rows, damaged=()):
    """A file of schema 2; the sums of the damaged rows are wrong."""
    connection = sqlite3.connect(path)
    connection.executescript(SCHEMA_2)
    marks = ", ".join("?" * 12)
    for number, row in enumerate(rows):
        total = "0" * 16 if number in damaged else content_sum(row)
        connection.execute(f"INSERT INTO memories ({COLUMNS_2}, sum) VALUES ({marks})", (*row, total))
    connection.commit()
    connection.close()
    return path


def test_a_store_of_schema_2_is_migrated_and_keys_that_count_as_one_have_one_valid_value(tmp_path):
    rows = [
        row_2("Home Town", "Cork", DAYS[0], pinned=1),
        row_2("home town", "Rome", DAYS[1], replaced=DAYS[2]),
        row_2("home town", "Leeds", DAYS[2]),
        row_2("ＨＯＭＥ TOWN", "Bath", DAYS[1]),
        row_2("home town", "Paris", DAYS[1], user="bob"),
        row_2("pet", "cat", DAYS[3]),
    ]
    with opened(store_2(tmp_path / "m.db", rows)) as connection:
        assert [(memory.key, memory.value, memory.pinned) for memory in memories_of(connection, "ann")] == [
            ("home town", "Leeds", True), ("pet", "cat", False),
        ]  # fmt: skip
        history = history_of(connection, "ann", "HOME town")
        assert [(memory.key, memory.value) for memory in history] == [(row[1], row[2]) for row in rows[:4]]
        assert [row.id for row in memory_rows(connection, "1 ORDER BY id", ())] == [1, 2, 3, 4, 5, 6]
        assert remember(connection, "ann", "Home town", "Oslo")
        assert verify(connection).problems == []
    with opened(tmp_path / "m.db") as connection:
        assert forget(connection, "ann", "home TOWN") == 5
        assert [memory.value for memory in memories_of(connection, "bob")] == ["Paris"]


def test_a_damaged_row_of_schema_2_stays_damaged_and_keeps_no_other_from_its_place(tmp_path):
    rows = [row_2("Pet", "dog", DAYS[0]), row_2("pet", "cat", DAYS[1]), row_2("home", "Cork", DAYS[2])]
    with opened(store_2(tmp_path / "m.db", rows, damaged=[0])) as connection:
        assert [memory.value for memory in memories_of(connection, "ann")] == ["cat", "Cork"]
        assert verify(connection).problems == ["1 of memories can't be read or were changed: 1."]
        assert exported(connection, "ann").memories == 2


def test_a_migration_of_schema_2_that_is_cut_off_leaves_the_old_store(tmp_path, monkeypatch):
    path = store_2(tmp_path / "m.db", [row_2("Pet", "dog", DAYS[0]), row_2("pet", "cat", DAYS[1])])
    with monkeypatch.context() as patched:
        patched.setattr(schema, "_leave_one_valid", lambda connection: 1 / 0)
        with pytest.raises(ZeroDivisionError), opened(path):
            pass
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(memories)")]
    connection.close()
    assert "folded" not in columns
    with opened(path) as connection:
        assert [memory.value for memory in memories_of(connection, "ann")] == ["cat"]


def test_what_was_forgotten_is_gone_from_the_disk(tmp_path):
    """Also what SQLite left behind when it moved rows between pages, and what stands in its log."""
    random = Random(5)  # with which secure_delete alone leaves words behind

    def on_disk(word):
        return sum(path.read_bytes().count(word) for path in tmp_path.iterdir())

    with opened(tmp_path / "m.db") as connection:
        for _ in range(10):
            with writing(connection):
                for _ in range(100):
                    user, word = random.choice([("ann", "xyzzy"), ("bob", "plain")])
                    key = f"{random.randrange(10**9)} {word}"
                    insert_memory(connection, new_row(user, key, word * random.randrange(1, 60), NOON))
            learn(connection, "ann", "notes.md", str(random.random()), [("", "plugh " * random.randrange(1, 3000))])
            for memory in random.sample(memories_of(connection, "ann"), 3):
                remember(connection, "ann", memory.key, "xyzzy" * random.randrange(1, 200))
                touch(connection, "ann", [memory.id])
        remember(connection, "ann", "one secret", "frobozz")
        assert on_disk(b"xyzzy") and on_disk(b"plugh") and on_disk(b"frobozz")
        forget(connection, "ann", "one secret")
        assert not on_disk(b"frobozz")
        forget_source(connection, "ann", "notes.md")
        assert not on_disk(b"plugh")
        forget_all(connection, "ann")
        assert not on_disk(b"xyzzy") and on_disk(b"plain")
    assert not on_disk(b"xyzzy")


def test_if_another_process_still_reads_what_was_forgotten_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "WAIT_SECONDS", 0.05)
    with opened(tmp_path / "m.db") as connection, opened(tmp_path / "m.db") as reader:
        remember(connection, "ann", "secret", "xyzzy")
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM memories").fetchall()
        with pytest.raises(Busy, match="another process still reads.*Forget again"):
            forget(connection, "ann", "secret")
        assert memories_of(connection, "ann") == []
        reader.execute("COMMIT")
        assert forget(connection, "ann", "secret") == 0
        assert not any(b"xyzzy" in path.read_bytes() for path in tmp_path.iterdir())


def test_only_its_owner_can_read_a_store(tmp_path):
    with opened(tmp_path / "m.db") as connection:
        remember(connection, "ann", "k", "v")
        assert {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {
            "m.db": 0,
            "m.db-wal": 0,
            "m.db-shm": 0,
        }


def test_a_file_that_is_no_store_is_named(tmp_path):
    (tmp_path / "m.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(Corrupt, match=r"m\.db is no readable memory store"), opened(tmp_path / "m.db"):
        pass


def test_a_place_where_no_store_can_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"m\.db can't be made"), opened(tmp_path / "file" / "m.db"):
        pass
    with pytest.raises(BadInput, match="can't be used"), opened(tmp_path):
        pass


def test_a_store_of_a_newer_version_is_left_alone(tmp_path):
    with opened(tmp_path / "m.db") as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    with pytest.raises(BadInput, match="newer version"), opened(tmp_path / "m.db"):
        pass


def test_a_store_that_stays_locked_is_busy_to_write_and_open_to_read(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "WAIT_SECONDS", 0.05)
    with opened(tmp_path / "m.db") as connection:
        remember(connection, "ann", "k", "v")
        connection.execute("BEGIN IMMEDIATE")
        with opened(tmp_path / "m.db") as other:
            with pytest.raises(Busy, match=r"m\.db is in use by another process"):
                remember(other, "ann", "k", "w")
            assert [memory.value for memory in memories_of(other, "ann")] == ["v"]
        connection.execute("ROLLBACK")


def test_a_full_disk_is_said_and_the_store_stays_usable(tmp_path):
    with opened(tmp_path / "m.db") as connection:
        remember(connection, "ann", "k", "v")
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(BadInput, match="full.*the disk's space"):
            learn(connection, "ann", "notes.md", "d", [("", "long " * 10_000)])
        assert chunks_of(connection, "ann") == []
        connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
        assert remember(connection, "ann", "k", "w")


ROOT = Path(__file__).parents[2]
FIRST = """
import sys
from pathlib import Path
from tasks.memory.store import opened, remember
with opened(Path(sys.argv[1])) as connection:
    remember(connection, sys.argv[2], "k", "v")
"""


def test_processes_that_make_the_store_at_the_same_time_all_succeed(tmp_path):
    # processes of their own: a fork of the tests' process inherits the threads of whatever ran before
    command = [sys.executable, "-c", FIRST, str(tmp_path / "m.db")]
    writers = [subprocess.Popen([*command, f"user-{number}"], cwd=ROOT) for number in range(6)]
    assert [writer.wait() for writer in writers] == [0] * 6
    with opened(tmp_path / "m.db") as connection:
        assert all(memories_of(connection, f"user-{number}") for number in range(6))
