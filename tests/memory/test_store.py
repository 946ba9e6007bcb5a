import threading
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.corpus.text import one_line
from tasks.errors import BadInput
from tasks.memory.store import (
    Memory,
    chunks_of,
    embedded,
    forget,
    forget_all,
    forget_source,
    history_of,
    learn,
    memories_of,
    opened,
    pin,
    remember,
    touch,
)

SEOUL = timezone(timedelta(hours=9))
NOON = datetime(2024, 5, 6, 12, tzinfo=SEOUL)  # a Monday
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def values(memories):
    return [memory.value for memory in memories]


def texts(store, user="ann", now=NOON):
    return [memory.text for memory in memories_of(store, user, now)]


@pytest.fixture
def small(tmp_path):
    """A store in which a user may have three memories."""
    with opened(tmp_path / "small.db", limit=3) as connection:
        yield connection


def test_a_newer_value_replaces_the_older_one_which_stays_in_the_history(store):
    assert remember(store, "ann", "오늘 날씨", "비", NOON)
    assert remember(store, "ann", "오늘 날씨", "맑음", NOON + MINUTE)
    (memory,) = memories_of(store, "ann", NOON + MINUTE)
    assert memory == Memory(
        "오늘 날씨", "맑음", "2024-05-06T03:01:00+00:00", 2, "[오늘 날씨: 맑음]", "2024-05-06T15:00:00+00:00"
    )
    assert values(history_of(store, "ann", "오늘 날씨")) == ["비", "맑음"]


def test_saying_the_same_again_changes_nothing(store):
    assert remember(store, "ann", "home town", "Cork", NOON)
    assert not remember(store, "ann", "home town", "Cork", NOON + DAY)
    assert memories_of(store, "ann")[0].created == "2024-05-06T03:00:00+00:00"
    assert len(history_of(store, "ann", "home town")) == 1


def test_a_value_can_come_back(store):
    for value in ("a", "b", "a"):
        remember(store, "ann", "k", value)
    assert values(history_of(store, "ann", "k")) == ["a", "b", "a"]
    assert values(memories_of(store, "ann")) == ["a"]


def test_what_was_said_of_tomorrow_is_todays_a_day_later_and_then_gone(store):
    remember(store, "ann", "내일 일정", "치과", NOON)
    assert texts(store) == ["[내일 일정: 치과]"]
    assert texts(store, now=NOON + DAY) == ["[오늘 일정: 치과]"]
    assert texts(store, now=NOON + 2 * DAY) == []


def test_tomorrow_is_said_anew_each_day_and_both_days_stand(store):
    remember(store, "ann", "내일 일정", "치과", NOON)
    remember(store, "ann", "내일 일정", "영화", NOON + DAY)
    assert texts(store, now=NOON + DAY) == ["[오늘 일정: 치과]", "[내일 일정: 영화]"]


def test_what_is_said_today_wins_over_what_was_said_yesterday_of_tomorrow(store):
    remember(store, "ann", "tomorrow's plan", "dentist", NOON)
    assert remember(store, "ann", "today's plan", "cinema", NOON + DAY)
    assert texts(store, now=NOON + DAY) == ["[today's plan: cinema]"]
    assert values(history_of(store, "ann", "today's plan", NOON + DAY)) == ["dentist", "cinema"]


def test_yesterdays_words_repeated_today_are_no_news(store):
    remember(store, "ann", "내일 일정", "치과", NOON)
    assert not remember(store, "ann", "오늘 일정", "치과", NOON + DAY)


def test_a_day_is_the_users_own(store):
    """At 23:30 in Los Angeles it is the next afternoon in Seoul."""
    late = datetime(2024, 5, 6, 23, 30, tzinfo=timezone(timedelta(hours=-8)))
    remember(store, "ann", "today's plan", "dentist", late)
    assert texts(store, now=late) == ["[today's plan: dentist]"]
    assert texts(store, now=late + timedelta(hours=1)) == []


def test_a_clock_that_was_wrong_for_a_while_loses_nothing(store):
    remember(store, "ann", "오늘 일정", "치과", NOON)
    remember(store, "ann", "home town", "Cork", NOON)
    far = NOON + 20_000 * DAY
    remember(store, "ann", "오늘 날씨", "비", far)
    assert texts(store, now=far) == ["[home town: Cork]", "[오늘 날씨: 비]"]
    remember(store, "ann", "home town", "Leeds", NOON)
    assert texts(store) == ["[오늘 일정: 치과]", "[오늘 날씨: 비]", "[home town: Leeds]"]


def test_times_are_kept_in_utc(store):
    remember(store, "ann", "k", "v", NOON)
    assert memories_of(store, "ann")[0].created == "2024-05-06T03:00:00+00:00"


def test_forgetting_a_key_takes_its_history_and_nothing_else(store):
    for key, value in (("food", "ramen"), ("food", "soup"), ("town", "Cork")):
        remember(store, "ann", key, value)
    assert forget(store, "ann", "food") == 2
    assert forget(store, "ann", "food") == 0
    assert values(memories_of(store, "ann")) == ["Cork"] and history_of(store, "ann", "food") == []


def test_forgetting_today_takes_what_moved_there_and_leaves_tomorrow(store):
    remember(store, "ann", "내일 일정", "치과", NOON)
    remember(store, "ann", "내일 일정", "영화", NOON + DAY)
    assert forget(store, "ann", "오늘 일정", NOON + DAY) == 1
    assert texts(store, now=NOON + DAY) == ["[내일 일정: 영화]"]
    assert forget(store, "ann", "오늘 일정", NOON + 3 * DAY) == 1  # it is over, and was called so on its day


def test_no_more_memories_than_allowed_the_least_recently_used_goes_first(small):
    for number, key in enumerate("abc"):
        remember(small, "ann", key, "v", NOON + number * MINUTE)
    touch(small, "ann", [memories_of(small, "ann")[0].id], NOON + 5 * MINUTE)
    remember(small, "ann", "d", "v", NOON + 6 * MINUTE)
    assert [memory.key for memory in memories_of(small, "ann")] == ["a", "c", "d"]
    assert values(history_of(small, "ann", "b")) == ["v"]  # moved out, not lost


def test_what_is_over_leaves_before_what_is_valid(small):
    remember(small, "ann", "a", "v", NOON)
    remember(small, "ann", "오늘 일정", "치과", NOON + MINUTE)
    remember(small, "ann", "b", "v", NOON + 2 * MINUTE)
    remember(small, "ann", "c", "v", NOON + DAY)
    assert [memory.key for memory in memories_of(small, "ann", NOON + DAY)] == ["a", "b", "c"]


def test_pinned_memories_stay_and_if_all_are_pinned_a_new_one_is_refused(small):
    for key in "abc":
        remember(small, "ann", key, "v", NOON)
    assert pin(small, "ann", "a") and pin(small, "ann", "b") and not pin(small, "ann", "x")
    remember(small, "ann", "d", "v", NOON + MINUTE)
    assert [(memory.key, memory.pinned) for memory in memories_of(small, "ann")] == [
        ("a", True),
        ("b", True),
        ("d", False),
    ]
    pin(small, "ann", "d")
    with pytest.raises(BadInput, match=r"ann has 3 memories.*all are pinned.*pin --off"):
        remember(small, "ann", "e", "v", NOON)
    assert remember(small, "ann", "d", "w", NOON)  # a new value of a known key needs no place
    pin(small, "ann", "a", pinned=False)
    assert remember(small, "ann", "e", "v", NOON)
    assert [memory.key for memory in memories_of(small, "ann")] == ["b", "d", "e"]


def test_a_pin_is_the_keys_and_passes_to_its_newer_value(store):
    remember(store, "ann", "내일 일정", "치과", NOON)
    pin(store, "ann", "내일 일정", now=NOON)
    remember(store, "ann", "오늘 일정", "영화", NOON + DAY)
    assert memories_of(store, "ann", NOON + DAY)[0].pinned


def test_the_limit_is_each_users_own_and_the_history_has_it_too(small):
    remember(small, "eve", "k", "v", NOON - DAY)  # the least recently used of all
    for number in range(8):
        remember(small, "ann", "k", str(number), NOON + number * MINUTE)
        remember(small, "bob", f"k{number}", "v", NOON + number * MINUTE)
    assert values(history_of(small, "ann", "k")) == ["4", "5", "6", "7"]  # three of them past
    assert len(memories_of(small, "bob")) == 3 and len(memories_of(small, "ann")) == 1 == len(memories_of(small, "eve"))
    assert small.execute("SELECT count(*) FROM memories WHERE user = 'bob'").fetchone() == (6,)


def test_an_id_is_never_given_twice(store):
    remember(store, "ann", "a", "v")
    first = memories_of(store, "ann")[0].id
    forget_all(store, "ann")
    remember(store, "ann", "a", "v")
    assert memories_of(store, "ann")[0].id > first


def test_a_documents_passages_are_kept_in_order_and_replaced_when_it_changed(store):
    assert learn(store, "ann", "notes.md", "d1", [("Travel", "to Cork"), ("Food", "soup")]) == 2
    assert learn(store, "ann", "notes.md", "d1", [("Travel", "to Cork")]) == 0
    assert [chunk[1:] for chunk in chunks_of(store, "ann")] == [
        ("notes.md", 1, "Travel", "to Cork"),
        ("notes.md", 2, "Food", "soup"),
    ]
    assert learn(store, "ann", "notes.md", "d2", [("Travel", "to Leeds")]) == 1
    assert [chunk.text for chunk in chunks_of(store, "ann")] == ["to Leeds"]
    assert forget_source(store, "ann", "notes.md") == 1 and chunks_of(store, "ann") == []


ACTIONS = {
    "remember": lambda store, user: remember(store, user, "food", "ramen", NOON),
    "remember again": lambda store, user: remember(store, user, "food", "soup", NOON + MINUTE),
    "tomorrow": lambda store, user: remember(store, user, "내일 일정", "치과", NOON),
    "forget": lambda store, user: forget(store, user, "food", NOON),
    "forget_all": forget_all,
    "pin": lambda store, user: pin(store, user, "food", now=NOON),
    "touch": lambda store, user: touch(store, user, range(1, 99), NOON),  # others' ids among them
    "embedded": lambda store, user: embedded(store, user, range(1, 99), "e" * 64),
    "learn": lambda store, user: learn(store, user, "notes.md", "d", [("", f"text of {user}")]),
    "forget_source": lambda store, user: forget_source(store, user, "notes.md"),
}


def kept_of(store, user):
    """Every column but the ids."""
    columns = "key, value, text, created, expires, source, encoder, used, pinned, replaced"
    memories = store.execute(f"SELECT {columns} FROM memories WHERE user = ? ORDER BY id", (user,)).fetchall()
    return memories, texts(store, user), [chunk[1:] for chunk in chunks_of(store, user)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(ACTIONS)), st.sampled_from(["ann", "bob"])), max_size=15))
def test_users_never_meet(tmp_path_factory, actions):
    """What Ann has is the same with Bob beside her and without, whatever both do."""
    folder = tmp_path_factory.mktemp("users")
    with opened(folder / "both.db", limit=1) as both, opened(folder / "alone.db", limit=1) as alone:
        for action, user in actions:
            for store in (both, alone) if user == "ann" else (both,):
                with suppress(BadInput):  # the one place there is may be pinned
                    ACTIONS[action](store, user)
        assert kept_of(both, "ann") == kept_of(alone, "ann")


def test_forgetting_one_user_leaves_the_other(store):
    for user in ("ann", "bob"):
        remember(store, user, "home town", f"of {user}")
        learn(store, user, "notes.md", "d", [("", f"of {user}")])
        learn(store, user, "more.md", "d", [("", f"of {user}")])
    assert forget_source(store, "ann", "more.md") == 1 and len(chunks_of(store, "bob")) == 2
    assert forget_all(store, "ann") == 1
    assert memories_of(store, "ann") == [] == chunks_of(store, "ann") == history_of(store, "ann", "home town")
    assert values(memories_of(store, "bob")) == ["of bob"] and len(chunks_of(store, "bob")) == 2


@pytest.mark.parametrize("user", ["", "../ann", "ann bob", "-ann", "a" * 65, "앤", "ann\n"])
def test_an_unsafe_user_name_is_refused(store, user):
    for refused in (*ACTIONS.values(), memories_of, chunks_of, lambda store, user: history_of(store, user, "k")):
        with pytest.raises(BadInput, match="user's name"):
            refused(store, user)


def test_text_is_data_and_never_sql(store):
    for text in ("'; DROP TABLE memories; --", "%", "🙂 한국어", '"'):
        remember(store, "ann", text, text)
        assert values(history_of(store, "ann", text)) == [text]
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
        assert len(set(values(history_of(connection, "ann", "k")))) == 40


def test_many_may_make_a_new_store_at_the_same_time(tmp_path):
    together = threading.Barrier(6)

    def write(path):
        together.wait()
        with opened(path) as connection:
            return connection.execute("PRAGMA journal_mode").fetchone()[0]

    with ThreadPoolExecutor(6) as pool:
        for number in range(60):
            assert set(pool.map(write, [tmp_path / f"{number}.db"] * 6)) == {"wal"}


WAYS = ["Home town", "HOME TOWN", "ｈｏｍｅ　ｔｏｗｎ", "home\u00a0\u200btown "]


@pytest.mark.parametrize("other", WAYS)
def test_a_key_is_one_however_it_is_written(tmp_path, other):
    with opened(tmp_path / "m.db") as connection:
        assert remember(connection, "ann", "home town", "Cork")
        assert not remember(connection, "ann", other, "Cork")
        assert pin(connection, "ann", other)
        assert remember(connection, "ann", other, "Leeds")
        (memory,) = memories_of(connection, "ann")
        assert (memory.key, memory.value, memory.pinned) == (one_line(other), "Leeds", True)
        assert [each.value for each in history_of(connection, "ann", "Home Town")] == ["Cork", "Leeds"]
        assert forget(connection, "ann", "HOME town") == 2
        assert memories_of(connection, "ann") == []


def test_a_key_that_speaks_of_a_day_is_one_however_it_is_written(tmp_path):
    noon = datetime(2024, 5, 6, 12, tzinfo=UTC)
    with opened(tmp_path / "m.db") as connection:
        for key, value in (("Plan for tomorrow", "tea"), ("plan for ｔｏｍｏｒｒｏｗ", "run"), ("내일 일정", "치과")):
            remember(connection, "ann", key, value, noon)
        remember(connection, "ann", unicodedata.normalize("NFD", "내일 일정"), "학교", noon)
        assert [each.value for each in memories_of(connection, "ann", noon)] == ["run", "학교"]
        later = noon + timedelta(days=1)
        assert [each.key for each in memories_of(connection, "ann", later)] == ["plan for today", "오늘 일정"]
        assert forget(connection, "ann", "PLAN FOR TODAY", later) == 2
