"""One chat turn: find a memory, put it before the message, answer, and keep what the answer wants remembered."""

import re
import sqlite3
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tasks.corpus.cartesian import memory_text
from tasks.lm.template import ANSWER_MARKER, ANSWER_START
from tasks.memory.store import Memory, memories_of, remember
from tasks.retrieval.search import best

Embed = Callable[[str], np.ndarray]  # a text alone -> its unit vector
Answer = Callable[[str], str]

MAX_KEY, MAX_VALUE = 60, 200  # characters; what is longer is no memory but a model that has lost its way
TO_REMEMBER = re.compile(r"\s*\[([^\[\]:]+):([^\[\]]+)\]\s*")
BRACKETS = str.maketrans("[]［］【】", "()()()")  # NFKC would turn the wide ones back
INVISIBLE = re.compile("[\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")  # reorders or hides text


class Retrieved(NamedTuple):
    memory: Memory
    score: float  # cosine


class Turn(NamedTuple):
    """What a turn did: the answer as it is shown, the memory that was used, the one that was saved."""

    answer: str
    retrieved: Retrieved | None
    saved: Memory | None


def take_turn(
    connection: sqlite3.Connection, user: str, message: str, embed: Embed | None, answer: Answer, threshold: float
) -> Turn:
    """Answer one message of one user.

    Args:
        connection: the open store.
        user: whose memories are the candidates.
        message: as it was typed.
        embed: the retriever's encoder; None if there is none, and nothing is retrieved.
        answer: from the prompt to the language model's answer.
        threshold: the cosine from which a memory is used.
    """
    asked = neutralised(message)
    retrieved = retrieve(memories_of(connection, user), asked, embed, threshold) if embed else None
    said, told = split_answer(answer(f"{memory_text(retrieved.memory)} {asked}" if retrieved else asked))
    new = told if told and not typed_by_user(told, message) and remember(connection, user, *told) else None
    return Turn(said, retrieved, Memory(*new) if new else None)


def retrieve(memories: list[Memory], message: str, embed: Embed, threshold: float) -> Retrieved | None:
    """The memory closest to the message if its cosine reaches the threshold, else none."""
    if not memories:
        return None
    cosines = np.stack([embed(memory_text(memory)) for memory in memories]) @ embed(message)
    place = best(cosines, threshold)
    return None if place is None else Retrieved(memories[place], float(cosines[place]))


def neutralised(message: str) -> str:
    """The message without what could pass for a memory or for the template: it is data, not structure."""
    text = visible(message).translate(BRACKETS)
    for marker in (ANSWER_MARKER, ANSWER_START):
        while marker in text:  # taking one out can bring the next one together
            text = text.replace(marker, marker.strip("()"))
    return text


def split_answer(text: str) -> tuple[str, tuple[str, str] | None]:
    """Cut a `[key: value]` from the start of an answer.

    Returns:
        What is shown, and the key and value to remember, None if there are none that make sense.
    """
    match = TO_REMEMBER.match(text)
    if not match:
        return visible(text), None
    key, value = (visible(part) for part in match.groups())
    sensible = 0 < len(key) <= MAX_KEY and 0 < len(value) <= MAX_VALUE
    return visible(text[match.end() :]), (key, value) if sensible else None


def typed_by_user(memory: tuple[str, str], message: str) -> bool:
    """Whether the user typed this very `[key: value]`: the model would only echo it."""
    typed = re.findall(r"\(([^():]+):([^()]+)\)", visible(message).translate(BRACKETS))
    return tuple(map(str.casefold, memory)) in {
        (key.strip().casefold(), value.strip().casefold()) for key, value in typed
    }


def visible(text: str) -> str:
    """One line without control characters: neither the terminal nor the store is to be steered by a text."""
    text = INVISIBLE.sub("", unicodedata.normalize("NFC", text))
    kept = (" " if unicodedata.category(each) in ("Cc", "Cs") else each for each in text)
    return " ".join("".join(kept).split())
