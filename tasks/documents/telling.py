"""What the rules find: facts and answers, and the place in a page where they stand."""

import re
from typing import NamedTuple

from tasks.corpus.text import one_line, unfit
from tasks.documents.relations import Relation

MAX_OBJECT = 200  # characters of an answer

DAYS = r"(?:Mon|Tues?|Wednes|Thurs?|Fri|Satur|Sun)(?:days?)?|Weds?|Sat|weekdays?|weekends?|bank holidays?"
MONTHS = r"January|February|March|April|May|June|July|August|September|October|November|December"
SEASONS = "spring|summer|autumn|winter"
WHEN = re.compile(rf"\d|\b(?:{MONTHS}|{DAYS}|noon|midnight|dawn|dusk|sunset|sunrise|{SEASONS})\b", re.IGNORECASE)
MONEY = re.compile(
    r"[£$€₩¥]\s?\d|\d[\d.,]*\s?(?:[£$€₩¥원]|(?:euros?|pounds?|dollars?|EUR|USD|GBP)\b)|^free\b", re.IGNORECASE
)
HANGUL = re.compile("[가-힣]")
SMALL_WORDS = {"a", "an", "and", "at", "by", "de", "for", "in", "la", "of", "on", "or", "the", "to", "with", "&"}
WORD = r"[A-Z][\w’'.-]*"
JOINED = rf"{WORD}(?: (?:(?:and|&|of|the|de|la|van|von) ){{0,2}}{WORD})"  # words of a name; how often, follows
NAME = re.compile(rf"\b{JOINED}{{1,3}}")
TOPIC = re.compile(  # a heading that says what kind of things stand under it
    r"\b(?:about|introduction|overview|summary|notes?|details?|misc\w*|further|see|references?|contents?|background"
    r"|welcome|home|index|news|faq|questions|information|info|general|links?)\b",
    re.IGNORECASE,
)
ARTICLE = re.compile(r"^(?:the|an?|our|your)\s+", re.IGNORECASE)


class Fact(NamedTuple):
    """A fact of a page: what facts.csv says of it, how its relation is asked for, by which rule, and from where."""

    subject: str
    relation: Relation
    object: str
    rule: str
    source: str


class Answer(NamedTuple):
    """A question about a page, and its answer."""

    question: str
    answer: str
    rule: str
    source: str


class Place(NamedTuple):
    """Where something stands. topic: what a key there is a key of; ours: what "we" are; page: the page's title."""

    topic: str
    ours: str
    page: str
    heading: str
    source: str


def is_name(text: str) -> bool:
    """Whether a text is a name: several words, and all that matter begin with a capital; no heading of a kind."""
    words = text.split()
    if not words or TOPIC.search(text) or text.endswith(("?", ":", "!")) or HANGUL.search(text):
        return False
    if not words[0][0].isupper() or any(not word[0].isupper() and word.lower() not in SMALL_WORDS for word in words):
        return False
    return len([word for word in words if word.lower() not in SMALL_WORDS]) > 1


def is_usable(text: str) -> bool:
    """Whether a text may stand in a fact or within a template."""
    return bool(text) and not unfit(text) and "{" not in text and "}" not in text


def article_off(words: str) -> str:
    """Words without the article before them."""
    return ARTICLE.sub("", one_line(words))


def lowered(key: str) -> str:
    """A key as it stands within a sentence: its capitals are the line's, unless it is an abbreviation."""
    return " ".join(word if len(word) > 1 and word.isupper() else word.lower() for word in article_off(key).split())
