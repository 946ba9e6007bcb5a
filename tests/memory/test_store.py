import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from tasks.errors import BadInput, Busy, Corrupt
from tasks.memory import store as store_module
from tasks.memory.store import Memory, forget_all, history_of, memories_of, opened, remember

ROOT = Path(__file__).parents[2]
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
WRITES_UNTIL_KILLED = """
import sys
from pathlib import Path
from tasks.memory.store import opened, remember
with opened(Path(sys.argv[1])) as connection:
    for number in range(1_000_000):
        remember(connection, "ann", f"key {number}", str(number))
        print(number, flush=True)
"""


def test_a_newer_value_replaces_the_older_one_which_stays_in_the_history(store):
    assert remember(store, "ann", "오늘 날씨", "비", NOON)
    assert remember(store, "ann", "오늘 날씨", "맑음", NOON + timedelta(hours=1))
    assert memories_of(store, "ann") == [Memory("오늘 날씨", "맑음", "2024-05-01T13:00:00+00:00")]
    assert [memory.value for memory in history_of(store, "ann", "오늘 날씨")] == ["비", "맑음"]


def test_saying_the_same_again_changes_nothing(store):
    assert remember(store, "ann", "home town", "Cork", NOON)
    assert not remember(store, "ann", "home town", "Cork", NOON + timedelta(days=1))
    assert memories_of(store, "ann")[0].created == "2024-05-01T12:00:00+00:00"
    assert len(history_of(store, "ann", "home town")) == 1


def test_a_value_can_come_back(store):
    for value in ("a", "b", "a"):
        remember(store, "ann", "k", value)
    assert [memory.value for memory in history_of(store, "ann", "k")] == ["a", "b", "a"]
    assert [memory.value for memory in memories_of(store, "ann")] == ["a"]


def test_times_are_kept_in_utc(store):
    remember(store, "ann", "k", "v", NOON.astimezone(timezone(timedelta(hours=9))))
    assert memories_of(store, "ann")[0].created == "2024-05-01T12:00:00+00:00"


def test_users_never_meet(store):
    remember(store, "ann", "home town", "Cork")
    remember(store, "bob", "home town", "Leeds")
    assert [memory.value for memory in memories_of(store, "ann")] == ["Cork"]
    assert forget_all(store, "ann") == 1
    assert memories_of(store, "ann") == [] and history_of(store, "ann", "home town") == []
    assert [memory.value for memory in memories_of(store, "bob")] == ["Leeds"]


def test_what_was_forgotten_is_gone_from_the_disk(tmp_path):
    with opened(tmp_path / "m.db") as connection:
        remember(connection, "ann", "secret", "xyzzy-plugh")
        forget_all(connection, "ann")
        assert not any(b"xyzzy" in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize("user", ["", "../ann", "ann bob", "-ann", "a" * 65, "앤", "ann\n"])
def test_an_unsafe_user_name_is_refused(store, user):
    for refused in (lambda: remember(store, user, "k", "v"), lambda: memories_of(store, user),
                    lambda: forget_all(store, user)):  # fmt: skip
        with pytest.raises(BadInput, match="user's name"):
            refused()


def test_text_is_data_and_never_sql(store):
    for text in ("'; DROP TABLE memories; --", "%", "🙂 한국어", '"'):
        remember(store, "ann", text, text)
    assert len(memories_of(store, "ann")) == 4


def test_writers_at_the_same_time_leave_one_valid_value_and_lose_none(tmp_path):
    path = tmp_path / "m.db"

    def write(writer):
        with opened(path) as connection:
            return sum(remember(connection, "ann", "k", f"{writer}-{number}") for number in range(10))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(write, range(4))) == 40
    with opened(path) as connection:
        assert len(memories_of(connection, "ann")) == 1
        assert len(history_of(connection, "ann", "k")) == 40


def test_an_acknowledged_write_survives_kill_9(tmp_path):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITES_UNTIL_KILLED, str(tmp_path / "m.db")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    acknowledged = [int(writer.stdout.readline()) for _ in range(50)]
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged += [int(line) for line in writer.stdout.read().splitlines()]
    writer.wait()
    with opened(tmp_path / "m.db") as connection:
        found = {memory.key: memory.value for memory in memories_of(connection, "ann")}
    assert all(found[f"key {number}"] == str(number) for number in acknowledged)


def test_a_file_that_is_no_store_is_named(tmp_path):
    (tmp_path / "m.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(Corrupt, match=r"m\.db"), opened(tmp_path / "m.db"):
        pass


def test_a_store_of_a_newer_version_is_left_alone(tmp_path):
    with opened(tmp_path / "m.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(BadInput, match="newer version"), opened(tmp_path / "m.db"):
        pass


def test_a_store_that_stays_locked_is_busy(tmp_path, monkeypatch):
    with opened(tmp_path / "m.db") as connection:
        connection.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(store_module, "WAIT_SECONDS", 0.05)
        with pytest.raises(Busy, match="another process"), opened(tmp_path / "m.db"):
            pass
        connection.execute("ROLLBACK")
