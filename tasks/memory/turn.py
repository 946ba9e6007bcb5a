"""One chat turn: find what fits the message, put it before it, answer, and keep what the answer wants remembered.

A memory of the user comes first; only if none fits, passages of the user's documents. Whatever stands before the
message, and the message itself, is data (see neutral.py); and only what the model says of its own is remembered: not
what the message or a document already spells out as `key: value`.
"""

import math
import re
import sqlite3
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from tasks.errors import BadInput
from tasks.memory.near import Known
from tasks.memory.neutral import is_echo, neutral_memory, neutralised, same, visible
from tasks.memory.parts import NO_PARTS, Parts, split_answer
from tasks.memory.store import Chunk, Memory, chunks_of, history_of, remember
from tasks.retrieval.search import Found

MEMORY = "memory"  # the source of what is no document
MAX_MESSAGE, MAX_BEFORE = 4000, 1000  # characters of a message, and of each text that stands before it
SMALLEST = 1e-9  # a score whose logarithm can be taken
Neutral = Callable[[str, tuple[str, ...]], str]
HANGUL, NUMBER = re.compile("[가-힣]"), re.compile(r"\d")
UNKNOWN, UNKNOWN_KO = "I don't know that yet.", "그건 아직 몰라요."
HINT, HINT_KO = " This may help:", " 이게 도움이 될 수도 있어요:"
RECALLED, RECALLED_KO = "I remember:", "이렇게 기억하고 있어요:"
NO_ANSWER, NO_ANSWER_KO = "I don't know what to say to that.", "뭐라고 답해야 할지 모르겠어요."


class Retrieved(NamedTuple):
    text: str  # as it stood before the message
    score: float  # the retriever's
    source: str  # MEMORY, or "notes.md § Travel"


class Turn(NamedTuple):
    """What a turn did: the answer as it is shown, what stood before the message, the memory that was saved, and
    instructions (see parts.py)."""

    answer: str
    retrieved: tuple[Retrieved, ...]
    saved: Memory | None
    instructions: Mapping[str, str] = MappingProxyType({})


def _all(contexts: list[str], message: str) -> list[str]:
    return contexts


@dataclass(frozen=True)
class Means:
    """What a turn is taken with, loaded once (see means.py).

    Attributes:
        find: the memories that fit a message, from all texts, best first; None without a retriever.
        find_chunks: the same of passages, with how many at most; the best is shown as a hint where nothing is known.
        is_sure: whether a passage of this score is more than a hint, and used for an answer.
        answer: from contexts, their log-probabilities up to a constant, and the message to what the model says.
        chunks: how many passages stand before a message at most.
        fitting: of contexts, those that the model has room for before the message, the best first.
        markers: what the model's tokenizer reads as structure.
        knows: whether the model is so sure of its own answer to a message that no document is used, but one that
            outweighs it; None: it is not.
        outweighs: whether a passage of this score is used all the same.
        unknown: whether the model learnt nothing like a message, so that it had better say so; None: it can't tell. A
            model that can answers as it was taught to answer what is most alike, and what it would have remembered is
            held against the message.
        quote: the sentence of a passage that answers a message, for a model that can't read; None: it reads. Of a
            memory its answer is kept if it has the value and was learnt, and else the memory is told.
        drop: deletes the vectors that were made of the user's memories.
        encoder: the sum of the retriever's bytes, noted beside a memory that it found.
        parts: which instructions an answer may have.
        known: the user's memories, kept between the turns.
    """

    find: Callable[[str, list[str]], list[Found]] | None
    find_chunks: Callable[[str, list[str], int], list[Found]] | None
    answer: Callable[[list[str], list[float], str], str]
    chunks: int = 3
    fitting: Callable[[list[str], str], list[str]] = _all
    markers: tuple[str, ...] = ()
    knows: Callable[[str], bool] | None = None
    outweighs: Callable[[float], bool] = lambda score: False
    unknown: Callable[[str], bool] | None = None
    quote: Callable[[str, str], str] | None = None
    is_sure: Callable[[float], bool] = lambda score: True
    drop: Callable[[], None] = lambda: None
    encoder: str = ""
    parts: Parts = field(default_factory=lambda: NO_PARTS)
    known: Known = field(default_factory=Known)


def take_turn(
    connection: sqlite3.Connection, user: str, message: str, means: Means, now: datetime | None = None
) -> Turn:
    """Answer one message of one user.

    Args:
        connection: the open store.
        user: whose memories and documents are the candidates.
        message: as it was typed.
        means: the models.
        now: in the user's time zone.
    """
    now = now or datetime.now().astimezone()
    asked = neutralised(message[-MAX_MESSAGE:], means.markers)
    memory = _memory(connection, user, asked, means, now)
    passages = [] if memory else _passages(connection, user, asked, means)
    found = [memory] if memory else [each for each in passages if means.is_sure(each.score)]
    retrieved = _before(found, neutral_memory if memory else neutralised, asked, means)
    if retrieved and not memory and means.quote:
        return Turn(visible(means.quote(retrieved[0].text, asked)), retrieved[:1], None)
    if not retrieved and means.unknown and means.unknown(asked):
        return _not_known(asked, passages[:1], means)
    weights = [math.log(max(each.score, SMALLEST)) for each in retrieved]
    answer = means.answer([each.text for each in retrieved], weights, asked)
    said, to_remember, instructions = split_answer(answer, means.parts)
    if means.unknown and to_remember and not is_told(to_remember[1], message):
        said, to_remember, instructions = "", None, {}  # it answered a message that it was taught, not this one
    repeated = to_remember and already_there(to_remember, message, [*found, *retrieved])
    saved = _saved(connection, user, to_remember, now) if to_remember and not repeated else None
    if memory and means.quote and not saved:
        said = _recalled(said, retrieved, asked, means)
    said = said or (NO_ANSWER_KO if HANGUL.search(asked) else NO_ANSWER)
    return Turn(said, retrieved, saved, instructions)


def already_there(memory: tuple[str, str], message: str, found: list[Retrieved]) -> bool:
    """Whether the model only repeats it: the message or a passage spells it out, or it is the memory it was given."""
    return is_echo(memory, message) or any(
        same(memory, each.text) if each.source == MEMORY else is_echo(memory, each.text) for each in found
    )


def is_told(value: str, message: str) -> bool:
    """Whether a message has words of a value, at least half of its letters, and all its numbers.

    Of a word its first half is enough: so its plain form is found in an inflected one, "snow" in "it is snowing",
    "맑음" in "맑을 거래". In Hangul it may stand within a word, as not everybody parts words there.
    """
    words, parts = _words(message), _words(value)
    told = [part for part in parts if any(_begins(part, word) for word in words)]
    numbers = all(part in told for part in parts if NUMBER.search(part))
    return numbers and 2 * len("".join(told)) >= len("".join(parts)) if parts else visible(value) in visible(message)


def _begins(part: str, word: str) -> bool:
    if NUMBER.search(part):
        return part == word
    half = part[: (len(part) + 1) // 2]
    return half in word if HANGUL.search(part) else word.startswith(half)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFKC", visible(text)).casefold())


def _memory(connection: sqlite3.Connection, user: str, message: str, means: Means, now: datetime) -> Retrieved | None:
    """The memory that fits best, if one does; it counts as used."""
    if means.find is None:
        return None
    memories = means.known.read(connection, user, now)
    found = means.find(message, [memory.text for memory in memories]) if memories else []
    if gone := means.known.gone(connection, user, now):
        means.drop()  # forgotten while they were looked through: an index may just have been written with them in it
    if not found or memories[found[0].place].text in gone:
        return None
    best = memories[found[0].place]
    means.known.used(connection, user, best, now, means.encoder)
    return Retrieved(best.text, found[0].score, MEMORY)


def _passages(connection: sqlite3.Connection, user: str, message: str, means: Means) -> list[Retrieved]:
    """The passages that fit, the best first."""
    if means.find_chunks is None:
        return []
    chunks = chunks_of(connection, user)
    found = means.find_chunks(message, [chunk.under_heading for chunk in chunks], means.chunks) if chunks else []
    if found and means.knows and means.knows(message):
        found = [each for each in found if means.outweighs(each.score)]
    return [Retrieved(chunks[place].text, score, _place_of(chunks[place])) for place, score in found[: means.chunks]]


def _not_known(message: str, likely: list[Retrieved], means: Means) -> Turn:
    """That the model does not know, and the passage that may help, if there is one."""
    said, hint = (UNKNOWN_KO, HINT_KO) if HANGUL.search(message) else (UNKNOWN, HINT)
    shown = [each._replace(text=neutralised(each.text[:MAX_BEFORE], means.markers)) for each in likely]
    return Turn("".join([said, *(f"{hint} {visible(each.text)}" for each in shown)]), tuple(shown), None)


def _recalled(said: str, retrieved: tuple[Retrieved, ...], message: str, means: Means) -> str:
    """The answer if it has the memory's value, and was learnt for such a memory and message, where the model can tell;
    else the memory: what can't read goes on at random, or tells what it was taught of another.
    """
    told = visible(retrieved[0].text).removeprefix("[").removesuffix("]") if retrieved else ""
    learnt = not means.unknown or not told or not means.unknown(f"{retrieved[0].text} {message}")
    if not told or (learnt and is_told(told.partition(": ")[2], said)):
        return said
    return f"{RECALLED_KO if HANGUL.search(message) else RECALLED} {told}"


def _place_of(chunk: Chunk) -> str:
    place = visible(f"{chunk.source} § {chunk.heading}" if chunk.heading else chunk.source)
    return f"{place} § {chunk.place}" if place == MEMORY else place  # a document of that name is no memory


def _before(found: list[Retrieved], neutral: Neutral, message: str, means: Means) -> tuple[Retrieved, ...]:
    """What was found as it stands before the message: data, and no more than there is room for."""
    texts = means.fitting([neutral(each.text[:MAX_BEFORE], means.markers) for each in found], message)
    again = (neutral(text, means.markers) for text in texts)  # what was cut ends elsewhere
    return tuple(each._replace(text=text) for each, text in zip(found, again, strict=False) if text)


def _saved(connection: sqlite3.Connection, user: str, to_remember: tuple[str, str], now: datetime) -> Memory | None:
    with suppress(BadInput):  # as many memories as are allowed, all of them pinned: the answer is still an answer
        if remember(connection, user, *to_remember, now):
            return history_of(connection, user, to_remember[0], now)[-1]
    return None
