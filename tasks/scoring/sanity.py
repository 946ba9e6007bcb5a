"""What is wrong with a written answer, whatever it should have said."""

import unicodedata
from collections import Counter
from collections.abc import Iterable

from tasks.lm.generate import Generated
from tasks.lm.sound import loop_of

FAULTS = ("empty", "repeated", "foreign script", "over-long", "unended")
OVER_LONG = 3.0  # times as long as the longest answer that was taught
WORDS_AGAIN = 4  # the same word so often in a row is a loop, too


def faults_of(said: Generated, scripts: frozenset[str], longest: int) -> set[str]:
    """The names of its faults.

    empty: it says nothing. repeated: it ends in a loop, or one word stands four times in a row. foreign script: it has
    a letter of a script that neither answers nor questions of the data have. over-long: it has more than three times
    as many characters as the longest answer. unended: it ran into the limit on tokens.

    Args:
        said: the answer, and whether the model ended it.
        scripts: of the data, see `scripts_of`.
        longest: characters of the longest answer that was taught.
    """
    found = {
        "empty": not said.text.strip(),
        "repeated": bool(loop_of(said.text)) or _in_a_row(said.text) >= WORDS_AGAIN,
        "foreign script": not scripts_of([said.text]) <= scripts,
        "over-long": len(said.text) > OVER_LONG * longest,
        "unended": not said.ended,
    }
    return {name for name, there in found.items() if there}


def scripts_of(texts: Iterable[str]) -> frozenset[str]:
    """The scripts of the texts' letters, by the first word of their Unicode names: LATIN, HANGUL, CJK."""
    letters = Counter(letter for text in texts for letter in set(text) if letter.isalpha())
    return frozenset(unicodedata.name(letter, "NONE").split()[0] for letter in letters)


def _in_a_row(text: str) -> int:
    """How often the most repeated word stands in a row."""
    longest = count = 0
    before = None
    for word in text.split():
        count = count + 1 if word == before else 1
        before, longest = word, max(longest, count)
    return longest
