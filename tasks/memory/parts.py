"""An answer in parts: instructions to whoever shows it, what is to be remembered, and the message.

    [expression: smile] [home town: Cork] A fine place to live.

Parts stand before the message, in brackets and any order. Those that params.yaml's chat.parts names are instructions:
an expression, a voice, a page to open. Another one is a memory.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from tasks.corpus.text import folded, unfit
from tasks.memory.neutral import visible

MAX_KEY, MAX_VALUE = 60, 200  # characters; what is longer is no memory but a model that has lost its way
PART = re.compile(r"\s*\[([^\[\]:]+):([^\[\]]+)\]\s*")

Parts = Mapping[str, Sequence[str]]  # names of instructions: the values that each may have; none: any
NO_PARTS: Parts = MappingProxyType({})


class Answer(NamedTuple):
    """memory: the key and value to remember, None if there are none that make sense. instructions: by their names."""

    message: str
    memory: tuple[str, str] | None
    instructions: dict[str, str]


def split_answer(text: str, parts: Parts = NO_PARTS) -> Answer:
    """Take what a model says apart, strictly: an instruction that is given twice, that is too long, or that has a value
    which is not among its own, is none. Nothing of it is shown. After a memory, another one is text.
    """
    names = {folded(name): name for name in parts}
    memory, told, twice = None, dict[str, str](), set[str]()
    while match := PART.match(text):
        key, value = (visible(part) for part in match.groups())
        if name := names.get(folded(key)):
            if name in told:
                twice.add(name)
            told[name] = value
        elif memory is None:
            memory = key, value
        else:
            break
        text = text[match.end() :]
    checked = {name: _allowed(value, parts[name]) for name, value in told.items() if name not in twice}
    instructions = {name: value for name, value in checked.items() if value is not None}
    return Answer(visible(text), memory if memory and _sensible(*memory) else None, instructions)


def _allowed(value: str, values: Sequence[str]) -> str | None:
    """A value as params.yaml writes it; None if it may not be."""
    if not values:
        return value if 0 < len(value) <= MAX_VALUE and not unfit(value) else None
    return {folded(each): each for each in values}.get(folded(value))


def _sensible(key: str, value: str) -> bool:
    return 0 < len(key) <= MAX_KEY and 0 < len(value) <= MAX_VALUE and not unfit(f"{key}: {value}")
