import json
import multiprocessing
import os
import signal
import unicodedata
from datetime import datetime, timedelta, timezone
from itertools import count
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.errors import BadInput, Corrupt
from tasks.memory import transfer
from tasks.memory.rows import insert_memory, new_row
from tasks.memory.store import chunks_of, embedded, history_of, learn, memories_of, opened, pin, remember, touch
from tasks.memory.transfer import exported, imported
from tasks.memory.turn import split_answer

SEOUL = timezone(timedelta(hours=9))
NOON = datetime(2024, 5, 6, 12, tzinfo=SEOUL)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
MARKED = ["(답변)", "<|endoftext|>", "home (답변 종료) town", "e\u0301\u200d", "tomorrow's plan"]


@pytest.fixture
def other(tmp_path):
    """A second store, empty."""
    with opened(tmp_path / "other.db") as connection:
        yield connection


@pytest.fixture
def file(tmp_path):
    """Writes a file as of Monday noon and returns its path."""

    def written(text, name="memories.txt"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        os.utime(path, (NOON.timestamp(), NOON.timestamp()))
        return path

    return written


def live(store, user="ann"):
    remember(store, user, "home town", "Cork", NOON)
    remember(store, user, "home town", "Leeds", NOON + MINUTE)
    remember(store, user, "내일 일정", "치과 🙂\u2028", NOON)
    pin(store, user, "home town")
    touch(store, user, [2], NOON + DAY)
    embedded(store, user, [2], "e" * 64)
    learn(store, user, "notes.md", "d1", [("Travel", "to Cork"), ("", 'a "quoted"\nline')])


def values(memories):
    return [memory.value for memory in memories]


def test_an_export_imported_into_an_empty_store_gives_the_same(store, other, file):
    live(store)
    remember(store, "bob", "home town", "Paris", NOON)
    done = exported(store, "ann")
    assert (done.memories, done.chunks, done.lost) == (3, 2, 0) and "Paris" not in done.text
    assert imported(other, "ann", file(done.text), NOON) == (3, 2)
    assert exported(other, "ann") == done
    assert memories_of(other, "ann", NOON)[0].pinned
    assert values(history_of(other, "ann", "home town")) == ["Cork", "Leeds"]
    assert [chunk[1:] for chunk in chunks_of(other, "ann")] == [chunk[1:] for chunk in chunks_of(store, "ann")]


def test_importing_twice_changes_nothing(store, file):
    live(store)
    text = exported(store, "ann").text
    assert imported(store, "ann", file(text), NOON) == (0, 0)
    assert exported(store, "ann").text == text


def test_an_export_can_be_taken_over_by_another_user_and_leaves_the_first_alone(store, file):
    live(store)
    text = exported(store, "ann").text
    assert imported(store, "bob", file(text), NOON) == (3, 2)
    assert exported(store, "ann").text == text
    assert values(memories_of(store, "bob", NOON)) == values(memories_of(store, "ann", NOON))


def test_of_two_values_of_a_key_the_one_that_was_said_later_is_valid(store, other, file):
    for connection, food, town in ((store, "ramen", "Cork"), (other, "soup", "Leeds")):
        remember(connection, "ann", "food", food, NOON if connection is store else NOON + DAY)
        remember(connection, "ann", "town", town, NOON + DAY if connection is store else NOON)
    assert imported(other, "ann", file(exported(store, "ann").text), NOON + DAY) == (2, 0)
    assert sorted(values(memories_of(other, "ann"))) == ["Cork", "soup"]
    assert values(history_of(other, "ann", "food")) == ["soup", "ramen"]
    assert values(history_of(other, "ann", "town")) == ["Leeds", "Cork"]


def test_what_was_said_later_of_a_day_wins_also_if_it_was_said_in_other_words(store, other, file):
    remember(store, "ann", "내일 일정", "치과", NOON)
    remember(other, "ann", "오늘 일정", "영화", NOON + DAY)
    text = exported(store, "ann").text
    assert imported(store, "ann", file(exported(other, "ann").text), NOON + DAY) == (1, 0)
    assert imported(other, "ann", file(text), NOON + DAY) == (1, 0)
    for connection in (store, other):
        assert [memory.text for memory in memories_of(connection, "ann", NOON + DAY)] == ["[오늘 일정: 영화]"]


def test_a_pinned_key_stays_pinned_under_an_imported_value(store, file):
    remember(store, "ann", "home town", "Cork", NOON - DAY)
    pin(store, "ann", "home town")
    imported(store, "ann", file("[home town: Leeds]"), NOON)
    assert [(memory.value, memory.pinned) for memory in memories_of(store, "ann")] == [("Leeds", True)]


def test_of_two_versions_of_a_document_the_one_that_was_read_later_stays(store, other, file):
    learn(store, "ann", "notes.md", "d1", [("", "old")], NOON)
    learn(other, "ann", "notes.md", "d2", [("", "new"), ("", "newer")], NOON + DAY)
    assert imported(other, "ann", file(exported(store, "ann").text)) == (0, 0)
    assert imported(store, "ann", file(exported(other, "ann").text)) == (0, 2)
    assert [chunk.text for chunk in chunks_of(store, "ann")] == ["new", "newer"]


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda text: text.replace("Leeds", "Leads"),
        lambda text: "".join(text.splitlines(keepends=True)[:-1]),
        lambda text: text[: len(text) // 2],
        lambda text: "".join(line for line in text.splitlines(keepends=True) if "Cork" not in line),
        lambda text: text + text,
    ],
)
def test_an_export_that_was_changed_or_cut_off_is_refused(store, other, file, spoilt):
    live(store)
    with pytest.raises(Corrupt, match=r"memories\.txt was changed or cut off"):
        imported(other, "ann", file(spoilt(exported(store, "ann").text)))
    assert exported(other, "ann").memories == 0


def test_an_old_list_is_taken_over_in_its_order_and_later_lines_win(store, file):
    towns = [f"[home town: {town}]" for town in ("Cork", "Leeds", "Leeds", "Cork")]
    text = "\ufeff" + "\r\n".join([towns[0], "", "[food: ramen]", *towns[1:]])
    assert imported(store, "ann", file(text), NOON) == (4, 0)
    assert values(memories_of(store, "ann")) == ["ramen", "Cork"]
    assert values(history_of(store, "ann", "home town")) == ["Cork", "Leeds", "Cork"]
    assert {memory.source for memory in memories_of(store, "ann")} == {"memories.txt"}
    assert imported(store, "ann", file(text), NOON) == (0, 0)


def test_a_day_in_an_old_list_is_that_of_the_files_last_change(store, file):
    path = file("[오늘 일정: 영화]\n[내일 일정: 치과]\n")
    imported(store, "ann", path, NOON + DAY)
    assert [memory.text for memory in memories_of(store, "ann", NOON + DAY)] == ["[오늘 일정: 치과]"]


def test_an_old_list_doesnt_overwrite_what_was_said_since(store, file):
    remember(store, "ann", "home town", "Leeds", NOON + DAY)
    imported(store, "ann", file("[home town: Cork]\n"), NOON + DAY)
    assert values(memories_of(store, "ann")) == ["Leeds"]
    assert set(values(history_of(store, "ann", "home town"))) == {"Cork", "Leeds"}


def test_every_bad_line_of_a_list_is_named_and_nothing_is_imported(store, file):
    lines = [
        b"[home town: Cork]",
        b"home town: Cork",
        b"[a: b] Hello",
        b"[a: \xff]",
        b"[" + b"k" * 61 + b": v]",
        b"[a:]",
    ]
    with pytest.raises(BadInput) as refused:
        imported(store, "ann", file(b"\n".join(lines)))
    said = str(refused.value).splitlines()
    assert said[0] == "Nothing is imported:"
    assert [line.split(": ")[0] for line in said[1:]] == [f"memories.txt, line {number}" for number in (2, 3, 4, 5, 6)]
    assert memories_of(store, "ann") == []


def test_more_than_the_limit_leaves_the_newest(tmp_path, file):
    with opened(tmp_path / "small.db", limit=3) as connection:
        imported(connection, "ann", file("".join(f"[k{number}: v]\n" for number in range(10))), NOON)
        assert [memory.key for memory in memories_of(connection, "ann")] == ["k7", "k8", "k9"]
        assert exported(connection, "ann").memories == 6


def test_a_file_that_is_not_there_is_named(store, tmp_path):
    with pytest.raises(BadInput, match=r"There is no file .*no\.txt"):
        imported(store, "ann", tmp_path / "no.txt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"memories\.txt holds no memories\. Name a file"),
        (b"\xef\xbb\xbf", "holds no memories"),
        ("\u200b\n \n\u3000".encode(), "holds no memories"),
        ("[a: b]".encode("utf-16"), "is UTF-16"),
        (b"[a: b]\n\0", "is no text file"),
        (b'{"input": "a", "output": "b"}\n', "is neither an export of memories nor a list"),
        ("[a: (답변 종료)]", r"line 1: contains '\(답변\)?"),
        ("[c: d]\n[a: <|endoftext|>]", r"line 2: contains '<\|endoftext\|>'"),
        ("[c: d]\n[a: \x1b[2J]", "line 2: contains the control character"),
        ("[c: d]\r\n[a: \x07b]", "line 2: contains the control character"),
    ],
)
def test_a_file_that_can_not_be_imported_is_named_and_nothing_is_taken_from_it(store, file, content, message):
    with pytest.raises(BadInput, match=message):
        imported(store, "ann", file(content))
    assert memories_of(store, "ann") == []


def test_a_folder_is_no_file(store, tmp_path):
    with pytest.raises(BadInput, match=r"is a folder\. Name the files in it"):
        imported(store, "ann", tmp_path)


@pytest.mark.parametrize("moment", [-(10**10), 2.6e11, 10**15])
def test_a_list_that_was_changed_when_no_one_can_reckon_is_refused(store, file, monkeypatch, moment):
    path = file("[내일 일정: 치과]")
    monkeypatch.setattr(type(path), "stat", lambda path, **_: SimpleNamespace(st_mtime=moment, st_mode=0o100644))
    with pytest.raises(BadInput, match="was last changed in no year"):
        imported(store, "ann", path)
    assert memories_of(store, "ann") == []


def test_a_list_is_called_by_its_name_in_normal_form(store, file):
    imported(store, "ann", file("[a: b]", unicodedata.normalize("NFD", "메모.txt")))
    assert memories_of(store, "ann")[0].source == "메모.txt"


def test_an_export_that_was_saved_with_a_byte_order_mark_is_an_export(store, other, file):
    live(store)
    assert imported(other, "ann", file("\ufeff" + exported(store, "ann").text), NOON) == (3, 2)
    assert exported(other, "ann") == exported(store, "ann")


def test_a_newer_version_is_named_also_if_its_checksum_or_its_header_is_another(store, file):
    header = {"kind": "header", "format": "perennial memories", "version": 2, "zone": "Asia/Seoul"}
    with pytest.raises(BadInput, match="newer version"):
        imported(store, "ann", file(f"{json.dumps(header)}\n{{}}\n"))


def test_what_a_store_without_its_index_holds_twice_is_exported_so_that_it_can_be_imported(store, other, file):
    store.execute("DROP INDEX valid")
    for number, town in enumerate(("Cork", "Leeds")):
        insert_memory(store, new_row("ann", "home town", town, NOON + number * MINUTE))
    assert imported(other, "ann", file(exported(store, "ann").text), NOON) == (2, 0)
    assert values(memories_of(other, "ann")) == ["Leeds"]
    assert values(history_of(other, "ann", "home town")) == ["Cork", "Leeds"]


def test_an_import_that_is_killed_half_way_leaves_nothing_of_it(tmp_path, file):
    path = file("".join(f"[k{number}: v]\n" for number in range(10)))
    with opened(tmp_path / "m.db"):
        pass
    child = multiprocessing.get_context("fork").Process(target=_import_and_die, args=(tmp_path / "m.db", path))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    with opened(tmp_path / "m.db") as connection:
        assert memories_of(connection, "ann") == []
        assert imported(connection, "ann", path, NOON) == (10, 0)


def _import_and_die(store, path):
    written = count(1)

    def insert(connection, row):
        insert_memory(connection, row)
        if next(written) == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    transfer.insert_memory = insert
    with opened(store) as connection:
        imported(connection, "ann", path, NOON)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(*[st.text(st.characters(codec=None), max_size=8) | st.sampled_from(MARKED)] * 2), max_size=3))
def test_whatever_the_chat_remembers_can_be_exported_and_imported(tmp_path, file, said):
    for path in tmp_path.glob("*.db*"):
        path.unlink()
    with opened(tmp_path / "from.db") as one, opened(tmp_path / "to.db") as other:
        for connection in (one, other):
            connection.execute("PRAGMA synchronous = OFF")
        for key, value in said:
            if memory := split_answer(f"[{key}: {value}]")[1]:
                remember(one, "ann", *memory, NOON)
        done = exported(one, "ann")
        if done.memories:
            imported(other, "ann", file(done.text), NOON)
            assert exported(other, "ann") == done


@pytest.mark.parametrize("act", [exported, lambda store, user: imported(store, user, None)])
def test_an_unsafe_user_name_is_refused(store, act):
    with pytest.raises(BadInput, match="user's name"):
        act(store, "../ann")
