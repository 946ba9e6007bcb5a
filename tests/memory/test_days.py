from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.memory.days import DAYS, WEEKS, earlier_names, expiry, key_now

SEOUL, LOS_ANGELES = timezone(timedelta(hours=9)), timezone(timedelta(hours=-8))
BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2024, 5, 6, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def with_plain_offset(moment):
    return moment.astimezone(timezone(moment.utcoffset()))


def names(key, said=MONDAY, days=10):
    """What a key is called on the day it was said and on those after, until it is over."""
    called = [key_now(key, expiry(key, said), said + number * DAY) for number in range(days)]
    return called[: called.index(None)] if None in called else called


@pytest.mark.parametrize(
    ("key", "called"),
    [
        ("오늘 일정", ["오늘 일정"]),
        ("내일 일정", ["내일 일정", "오늘 일정"]),
        ("모레 일정", ["모레 일정", "내일 일정", "오늘 일정"]),
        ("내일모레 일정", ["내일모레 일정", "내일 일정", "오늘 일정"]),
        ("어제 저녁", ["어제 저녁"]),
        ("내일의 날씨", ["내일의 날씨", "오늘의 날씨"]),
        ("내일밤 약속", ["내일밤 약속", "오늘밤 약속"]),
        ("today's plan", ["today's plan"]),
        ("Tomorrow’s plan", ["Tomorrow’s plan", "Today’s plan"]),
        ("plan for the day after tomorrow", ["plan for the day after tomorrow", "plan for tomorrow", "plan for today"]),
        ("tomorrow night's film", ["tomorrow night's film", "tonight's film"]),
        ("tomorrow morning", ["tomorrow morning", "this morning"]),
        ("yesterday's dinner", ["yesterday's dinner"]),
        ("this weekend", ["this weekend"] * 7),
        ("next week's plan", ["next week's plan"] * 7 + ["this week's plan"] * 3),
        ("다음 주말 일정", ["다음 주말 일정"] * 7 + ["이번 주말 일정"] * 3),
        ("이번주 일정", ["이번주 일정"] * 7),
        ("weekend plan", ["weekend plan"] * 10),
        ("home town", ["home town"] * 10),
    ],
)
def test_a_key_moves_on_with_the_days_and_ends(key, called):
    assert names(key) == called


@pytest.mark.parametrize("key", ["내일배움카드", "오늘의집", "모래 놀이", "tomorrowland", "today-fm", "weekdays"])
def test_a_word_that_only_begins_like_a_day_is_none(key):
    assert expiry(key, MONDAY) is None


@pytest.mark.parametrize("zone", [SEOUL, LOS_ANGELES, BERLIN, UTC])
def test_the_day_ends_at_the_users_own_midnight(zone):
    said = datetime(2024, 5, 6, 23, 30, tzinfo=zone)
    expires = expiry("오늘 일정", said)
    assert expires == datetime(2024, 5, 7, tzinfo=zone)
    assert key_now("오늘 일정", expires, said + timedelta(minutes=29)) == "오늘 일정"
    assert key_now("오늘 일정", expires, said + timedelta(minutes=30)) is None
    assert key_now("내일 일정", expiry("내일 일정", said), said + timedelta(minutes=30)) == "오늘 일정"


def test_a_year_ends_like_any_day():
    eve = datetime(2023, 12, 31, 20, tzinfo=SEOUL)
    assert expiry("내일 일정", eve) == datetime(2024, 1, 2, tzinfo=SEOUL)
    assert names("내일 일정", eve) == ["내일 일정", "오늘 일정"]
    assert names("this week", eve) == ["this week"]  # a Sunday
    assert names("내일 일정", datetime(2024, 2, 28, tzinfo=SEOUL), 3) == ["내일 일정", "오늘 일정"]  # a leap year


@pytest.mark.parametrize("changes", [datetime(2024, 3, 31, tzinfo=BERLIN), datetime(2024, 10, 27, tzinfo=BERLIN)])
@pytest.mark.parametrize("clock", [lambda moment: moment, with_plain_offset])
def test_a_day_on_which_clocks_change_is_a_day(changes, clock):
    """`now` may come with a plain offset, which is another one after the change."""
    for hour in (0, 1, 12, 23):
        said = clock(changes.replace(hour=hour, minute=30))
        for later in (0, 12, 23):
            same_day = clock(changes.replace(hour=later, minute=30))
            next_day = clock((changes + DAY).replace(hour=later, minute=30))
            assert key_now("오늘 일정", expiry("오늘 일정", said), same_day) == "오늘 일정"
            assert key_now("오늘 일정", expiry("오늘 일정", said), next_day) is None
            assert key_now("내일 일정", expiry("내일 일정", said), next_day) == "오늘 일정"


def test_a_clock_that_was_set_back_loses_nothing():
    for key in ("오늘 일정", "내일 일정", "this week", "next week"):
        assert key_now(key, expiry(key, MONDAY), MONDAY - 30 * DAY) == key


def test_a_journey_keeps_the_week_and_is_at_most_a_day_off():
    said = datetime(2024, 5, 8, 20, tzinfo=LOS_ANGELES)
    assert key_now("this week", expiry("this week", said), said.astimezone(SEOUL)) == "this week"
    assert key_now("내일 일정", expiry("내일 일정", said), said.astimezone(SEOUL)) == "내일 일정"


def test_earlier_names_are_those_under_which_it_may_have_been_said():
    assert earlier_names("오늘 일정") == ["오늘 일정", "글피 일정", "모레 일정", "내일 일정", "내일모레 일정"]
    assert earlier_names("Tonight") == ["Tonight", "Tomorrow night"]
    assert earlier_names("home town") == ["home town"]


@given(
    st.sampled_from(sorted({f"{phrase} plan" for chain in DAYS + WEEKS for phrase in chain})),
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
    st.integers(0, 30 * 24),
)
def test_whatever_a_key_is_called_later_it_may_be_found_under(key, moment, offset, hours):
    said = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    assert key_now(key, expiry(key, said), said) == key
    called = key_now(key, expiry(key, said), said + timedelta(hours=hours))
    assert called is None or key in earlier_names(called)
    assert (called is None) == (said + timedelta(hours=hours) >= expiry(key, said))
