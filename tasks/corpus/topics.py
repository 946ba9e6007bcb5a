"""Everyday topics: keys, values and messages that the small encoder learns words from, and how they are varied.

A user's own lines are few. The topics tell which words belong together (an umbrella and the weather); the slices'
lines tell which keys there are.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from tasks.corpus.text import entering, folded
from tasks.errors import BadInput
from tasks.litter import is_litter
from tasks.sections import Section, mistake
from tasks.strict_yaml import read_yaml

DAY, MESSAGE = "{day}", "{message}"
MAX_BYTES = 1024 * 1024  # of a file of topics
HELD_OUT = 12  # one message in so many is never trained on
Text = Annotated[str, AfterValidator(entering), StringConstraints(min_length=1)]
Texts = Annotated[tuple[Text, ...], Field(min_length=1)]


class Topic(Section):
    """Keys that mean the same, values they may have, and messages that ask for them."""

    keys: Texts
    values: Texts
    messages: Texts


class Topics(Section):
    """A file of topics: what {day} stands for in keys and in messages, words that may stand for each other, frames."""

    days: dict[Text, Texts] = {}
    words: tuple[Texts, ...] = ()
    frames: tuple[Text, ...] = ()
    topics: Annotated[tuple[Topic, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _places_can_be_filled(self) -> "Topics":
        for frame in self.frames:
            if MESSAGE not in frame:
                raise ValueError(f"the frame '{frame}' has no {MESSAGE}")
        for topic in self.topics:
            dated = {DAY in text for text in (*topic.keys, *topic.messages)}
            if len(dated) > 1:
                raise ValueError(f"'{topic.keys[0]}' has {DAY} in some keys and messages: put it in all or in none")
            if dated == {True} and not self.days:
                raise ValueError(f"'{topic.keys[0]}' has a {DAY}, but there are no days")
        return self


class TopicLine(NamedTuple):
    """A memory line; lines of one group ask for the same."""

    key: str
    value: str
    message: str
    group: str


def read_topics(folder: Path) -> list[Topics]:
    """Read every .yaml file of a folder, in the order of their names.

    Raises:
        BadInput: there is no file; or one is no YAML, or has a field that is missing, empty or unknown.
    """
    paths = sorted(path for path in folder.glob("*.yaml") if path.is_file() and not is_litter(path.name))
    if not paths:
        raise BadInput(f"{folder} has no .yaml file to learn words from. docs/formats.md shows the form.")
    return [_read(path) for path in paths]


def _read(path: Path) -> Topics:
    try:
        return Topics.model_validate(read_yaml(path, MAX_BYTES))
    except ValidationError as error:
        raise BadInput(f"{path}: {mistake(error, 'topics')}. docs/formats.md shows the form.") from error


def topic_lines(topics: Sequence[Topics], copies: int, seed: int) -> tuple[list[TopicLine], list[TopicLine]]:
    """Write topics out as lines: to train on, and held out.

    A message is written `copies` times, or once for every day if it names one, each time with another key and value
    of its topic, words exchanged for their like, and half of the time within a frame. One message in twelve is held
    out, by the hash of its text; it is written once, as it stands.
    """
    random = Random(seed)
    train, held_out = [], []
    for number, file in enumerate(topics):
        days = list(file.days)
        for place, topic in enumerate(file.topics):
            group = f"{number}/{place}"
            for message in topic.messages:
                if _digest(message) % HELD_OUT == 0:
                    held_out.append(_line(file, topic, message, group, random.choice(days or [""]), random))
                    continue
                for day in days if DAY in message else [""] * copies:
                    line = _line(file, topic, message, group, day, random)
                    train.append(line._replace(message=varied(line.message, file.words, file.frames, random)))
    return train, held_out


def varied(message: str, words: Sequence[Sequence[str]], frames: Sequence[str], random: Random) -> str:
    """The message with some words exchanged for ones that mean the same, and half of the time within a frame."""
    for group in words:
        for word in group:
            if word not in message:  # most are not, and looking costs less than a pattern
                continue
            pattern, other = rf"(?<!\w){re.escape(word)}(?!\w)", random.choice(group)
            if re.search(pattern, message):
                message = re.sub(pattern, lambda _, other=other: other, message)  # type: ignore[misc]
                break
    return random.choice(frames).replace(MESSAGE, message) if frames and random.random() < 0.5 else message


def _line(file: Topics, topic: Topic, message: str, group: str, day: str, random: Random) -> TopicLine:
    key, value = random.choice(topic.keys), random.choice(topic.values)
    if DAY not in message:
        return TopicLine(key, value, message, group)
    word = random.choice(file.days[day])
    return TopicLine(key.replace(DAY, day), value, message.replace(DAY, word), group + day)


def _digest(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)


def key_groups(topics: Sequence[TopicLine], synonyms: Sequence[Sequence[str]]) -> Callable[[str], str]:
    """Tells the group of a key: its topic's, else its own; what synonyms join is one group, whole topics, too."""
    groups = {folded(line.key): line.group for line in topics}
    for keys in synonyms:
        names = [folded(key) for key in keys]
        first = groups.get(names[0], names[0])
        joined = {groups.get(name, name) for name in names}
        groups |= {key: first for key, group in groups.items() if group in joined} | dict.fromkeys(names, first)

    def group_of(key: str) -> str:
        name = folded(key)
        return groups.get(name, name)

    return group_of
