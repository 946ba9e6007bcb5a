from datetime import UTC, datetime
from random import Random

import pytest

from tasks.errors import BadInput, Corrupt
from tasks.memory import damage
from tasks.memory.damage import verify
from tasks.memory.store import chunks_of, forget_all, history_of, learn, memories_of, opened, remember, touch
from tasks.memory.transfer import exported, imported

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
PAGE = 4096


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The bytes of a store with two users, a history and a document."""
    path = tmp_path_factory.mktemp("sound") / "m.db"
    with opened(path) as connection:
        for number in range(120):
            user = "ann" if number % 2 else "bob"
            remember(connection, user, f"key {number % 50}", f"value {number} " * (1 + number % 9), NOON)
        learn(connection, "ann", "notes.md", "d", [("Travel", "passage " * 50)] * 20)
    return path.read_bytes()


def write(tmp_path, content):
    for path in tmp_path.glob("m.db*"):
        path.unlink()
    (tmp_path / "m.db").write_bytes(content)
    return tmp_path / "m.db"


def test_a_sound_store_is_said_to_be_one(tmp_path, sound):
    with opened(write(tmp_path, sound)) as connection:
        found = verify(connection)
    assert found.problems == []
    assert found.memories == {"ann": 60, "bob": 60} and found.chunks == {"ann": 20}


@pytest.mark.parametrize("change", ["value = 'x'", "key = 'x'", "user = 'ann'", "created = ''", "pinned = 1",
                                    "replaced = '2024'", "expires = '2024'", "used = x'00'", "sum = ''"])  # fmt: skip
def test_a_row_that_was_changed_is_refused_by_name_and_the_rest_can_be_exported(tmp_path, change):
    with opened(tmp_path / "m.db") as connection:
        for number in range(3):
            remember(connection, "bob", f"key {number}", str(number))
        connection.execute(f"UPDATE memories SET {change} WHERE id = 2")
        found = verify(connection)
        assert found.problems == ["1 of memories can't be read or were changed: 2."] and found.memories == {"bob": 2}
        user = "ann" if "user" in change else "bob"
        if "replaced" not in change:
            with pytest.raises(Corrupt, match=r"m\.db is damaged: row 2 was changed .*perennial memory verify"):
                memories_of(connection, user)
        assert [exported(connection, "bob").memories, exported(connection, user).lost] == [2, 1]


def test_an_index_that_hides_a_row_is_noticed(tmp_path):
    with opened(tmp_path / "m.db") as connection:
        for number in range(3):
            remember(connection, "ann", f"key {number}", str(number))
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, 'replaced)', 'replaced) WHERE id <> 2') "
                           "WHERE name = 'memories_by_user'")  # fmt: skip
    with opened(tmp_path / "m.db") as connection:
        connection.execute("REINDEX memories_by_user")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, ' WHERE id <> 2', '') "
                           "WHERE name = 'memories_by_user'")  # fmt: skip
    with opened(tmp_path / "m.db") as connection:
        with pytest.raises(Corrupt, match="of 3 rows of ann it finds 2"):
            memories_of(connection, "ann")
        assert verify(connection).problems
        assert exported(connection, "ann").memories == 3
        with pytest.raises(Corrupt):  # or the hidden row would stay on disk
            forget_all(connection, "ann")


def test_an_index_that_takes_one_users_rows_for_anothers_exports_none_of_them(tmp_path, monkeypatch):
    with opened(tmp_path / "m.db") as connection:
        remember(connection, "ann", "home town", "Cork")
        remember(connection, "bob", "home town", "Leeds")
        monkeypatch.setattr(damage, "_ids", lambda connection, table, user: {1, 2})
        assert "Leeds" not in exported(connection, "ann").text


def test_two_valid_values_of_a_key_are_noticed(tmp_path):
    with opened(tmp_path / "m.db") as connection:
        remember(connection, "ann", "k", "v")
        connection.execute("DROP INDEX valid")
        columns = "user, key, folded, value, text, created, expires, source, encoder, used, pinned, replaced, sum"
        connection.execute(f"INSERT INTO memories ({columns}) SELECT {columns} FROM memories")
        assert verify(connection).problems == ["'k' of ann has 2 valid values."]


def test_whatever_byte_is_damaged_nothing_wrong_is_read_and_no_other_error_comes_up(tmp_path, sound):
    """Bits flipped, bytes overwritten, pages zeroed, the file cut off: right, or a sentence."""
    with opened(write(tmp_path, sound)) as connection:
        right = {user: memories_of(connection, user, NOON) for user in ("ann", "bob")}
    random = Random(1)
    seen = set()
    for _ in range(120):
        content = bytearray(sound)
        place = random.randrange(len(content))
        match random.randrange(4):
            case 0:
                content[place] ^= 1 << random.randrange(8)
            case 1:
                content[place : place + 16] = random.randbytes(len(content[place : place + 16]))
            case 2:
                start = place // PAGE * PAGE
                content[start : start + PAGE] = bytes(PAGE)
            case 3:
                del content[place:]
        seen.add(_used(write(tmp_path, content), right))
    assert seen == {"right", "refused"}


def _used(path, right):
    try:
        with opened(path) as connection:
            verify(connection)
            for user in right:
                exported(connection, user)
            for user, expected in right.items():
                assert memories_of(connection, user, NOON) == expected
            touch(connection, "ann", [right["ann"][0].id])
            history_of(connection, "ann", "key 1")
            chunks_of(connection, "ann")
            remember(connection, "ann", "new", "v", NOON)
    except (Corrupt, BadInput):
        return "refused"
    return "right"


def test_what_a_damaged_page_leaves_goes_into_a_new_store(tmp_path, sound):
    content = bytearray(sound)
    page = sound.index(b"value 61 ") // PAGE * PAGE
    content[page : page + PAGE] = bytes(PAGE)
    with opened(write(tmp_path, content)) as connection:
        with pytest.raises(Corrupt, match="perennial memory verify"):
            memories_of(connection, "ann")
        found, done = verify(connection), exported(connection, "ann")
    assert found.problems and 0 < done.memories < 60 and done.memories + done.lost == 60
    (tmp_path / "ann.jsonl").write_text(done.text)
    with opened(tmp_path / "new.db") as connection:
        assert imported(connection, "ann", tmp_path / "ann.jsonl").memories == done.memories
        assert len(chunks_of(connection, "ann")) == 20
