"""Keys that speak of a day: they move on with the days and end when the day is over.

"[내일 일정: 치과]", said on Monday, is read on Tuesday as "[오늘 일정: 치과]" and on Wednesday no more; "next week's
plan" becomes "this week's plan". "today", "yesterday" and "this weekend" only end. A week begins on Monday (ISO 8601).

What is stored is the moment at which all is over: the midnight that ended the day by the clock of the person who spoke.
The day itself is read off that moment less half a unit, its noon (a week's Thursday noon). A noon stays on its day when
clocks change, or when `now` comes with a plain offset that knows nothing of clock changes.
"""

import re
import unicodedata
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

# What is one day (week) ahead moves one place to the right with each day (week), and ends after the last place.
DAYS = (
    ("the day after tomorrow", "tomorrow", "today"),
    ("tomorrow morning", "this morning"),
    ("tomorrow afternoon", "this afternoon"),
    ("tomorrow evening", "this evening"),
    ("tomorrow night", "tonight"),
    ("yesterday",),
    ("last night",),
    ("글피", "모레", "내일", "오늘"),
    ("내일모레", "내일", "오늘"),
    ("어제",),
    ("그저께",),
    ("어젯밤",),
)
WEEKS = (
    ("next week", "this week"),
    ("next weekend", "this weekend"),
    ("last week",),
    ("last weekend",),
    ("다음 주", "이번 주"),
    ("다음주", "이번주"),
    ("다음 주말", "이번 주말"),
    ("다음주말", "이번주말"),
    ("지난 주",),
    ("지난주",),
    ("지난 주말",),
    ("지난주말",),
)
KOREAN_ENDINGS = "의|새벽|아침|오전|점심|오후|저녁|밤"  # 오늘의 날씨, 오늘밤; but 내일배움카드 is no day

PHRASES = {phrase for chain in DAYS + WEEKS for phrase in chain}
LONGEST_FIRST = "|".join(sorted(PHRASES, key=lambda phrase: (-len(phrase), phrase)))
SPOKEN = re.compile(rf"(?<![\w-])({LONGEST_FIRST})(?=(?:{KOREAN_ENDINGS})?(?![\w-]))", re.IGNORECASE)
DAY, WEEK = timedelta(days=1), timedelta(days=7)


class Spoken(NamedTuple):
    """Where in a key a day is named, and how."""

    match: re.Match[str]
    chain: tuple[str, ...]
    ahead: int  # days or weeks until it is the last word of its chain
    unit: timedelta


def expiry(key: str, said: datetime) -> datetime | None:
    """When that which the key speaks of is over, by the speaker's clock, in UTC; None if it speaks of no day.

    Args:
        key: as it was said.
        said: when, in the speaker's time zone.
    """
    spoken = _spoken(key)
    if spoken is None:
        return None
    over = _begin(said.date(), spoken.unit) + (spoken.ahead + 1) * spoken.unit
    return datetime.combine(over, time.min, said.tzinfo).astimezone(UTC)


def key_now(key: str, expires: datetime | None, now: datetime) -> str | None:
    """What the key is called now; None when it is over.

    Args:
        key: as it was said.
        expires: what `expiry` said then.
        now: in the user's time zone. Earlier than the key was said (a clock was set back), the key stands as it is.
    """
    spoken = _spoken(key) if expires else None
    if spoken is None or expires is None:
        return key
    middle = (expires - spoken.unit / 2).astimezone(now.tzinfo).date()
    left = (_begin(middle, spoken.unit) - _begin(now.date(), spoken.unit)) // spoken.unit
    return None if left < 0 else _renamed(key, spoken, min(left, spoken.ahead))


def earlier_names(key: str) -> list[str]:
    """The keys that are called like this one when their day comes, and the key itself: 내일 일정 for 오늘 일정."""
    spoken = _spoken(key)
    if spoken is None:
        return [key]
    word = spoken.match[0].lower()
    words = {each: None for chain in DAYS + WEEKS if word in chain for each in chain[: chain.index(word)]}
    return [key, *(_replaced(spoken.match, each) for each in words)]


def _spoken(key: str) -> Spoken | None:
    match = SPOKEN.search(key) or SPOKEN.search(unicodedata.normalize("NFKC", key))  # a day in wide letters is one, too
    if not match:
        return None
    word = match[0].lower()
    for chains, unit in ((DAYS, DAY), (WEEKS, WEEK)):
        for chain in chains:
            if word in chain:
                return Spoken(match, chain, len(chain) - 1 - chain.index(word), unit)
    return None


def _begin(day: date, unit: timedelta) -> date:
    return day - timedelta(days=day.weekday()) if unit == WEEK else day


def _renamed(key: str, spoken: Spoken, left: int) -> str:
    return key if left == spoken.ahead else _replaced(spoken.match, spoken.chain[-1 - left])


def _replaced(match: re.Match[str], word: str) -> str:
    key, capital = match.string, match[0][0].isupper()
    return key[: match.start()] + (word[0].upper() + word[1:] if capital else word) + key[match.end() :]
