"""Non-interference: what user A's model is given is the same, byte for byte, whether or not user B exists."""

import zlib
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.errors import BadInput
from tasks.lm.template import PLAIN
from tasks.memory.store import forget, forget_all, forget_source, learn, pin, remember
from tasks.memory.turn import Means, take_turn
from tests.memory.conftest import TOPICS, find

MONDAY = datetime(2024, 5, 6, 12, tzinfo=UTC)
A, B = "ann", "bob"
KEYS = ["food", "town", "내일 plan", "오늘 plan", "this week's train"]
VALUES = ["x", "train", "town and food"]


class Step(NamedTuple):
    """What one user does."""

    hours: int  # that pass before it, for everybody
    user: str
    deed: str
    words: tuple[str, str]


class SometimesRemembers:
    """Says by its prompt alone, once in three, what is to be remembered."""

    def __init__(self):
        self.given = []

    def __call__(self, contexts, weights, message):
        prompt = PLAIN.prompt(" ".join([*contexts, message]))
        self.given.append((prompt.encode(), tuple(weights)))
        number = zlib.crc32(prompt.encode())
        key, value = KEYS[number // 3 % len(KEYS)], VALUES[number % len(VALUES)]
        return f"[{key}: {value}] Fine." if number % 3 == 0 else "Fine."


def turn(store, user, words, now, means):
    take_turn(store, user, " ".join(words), means, now)


def pinned(store, user, words, now, _):
    pin(store, user, words[0], now=now)
    pin(store, user, words[1], False, now)


def source(words):
    return f"{len(words[0]) % 2}.md"


def learned(store, user, words):
    learn(store, user, source(words), words[1], [("H", f"The {words[1]}.")])


DEEDS = {
    "turn": turn,
    "remember": lambda store, user, words, now, _: remember(store, user, *words, now),
    "forget": lambda store, user, words, now, _: forget(store, user, words[0], now),
    "forget all": lambda store, user, words, now, _: forget_all(store, user),
    "pin": pinned,
    "learn": lambda store, user, words, now, _: learned(store, user, words),
    "forget source": lambda store, user, words, now, _: forget_source(store, user, source(words)),
}
OFTEN = [*DEEDS, *4 * ["turn", "remember", "learn"], "forget", "forget source", "pin"]
HISTORIES = st.lists(
    st.builds(
        Step, st.sampled_from([0, 0, 0, 1, 20]), st.sampled_from([A, B]), st.sampled_from(OFTEN),
        st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES)),
    ),
    min_size=15, max_size=30,
)  # fmt: skip


def told(store, history, users):
    """What A's model was given when these users did what the history says.

    In the end A asks for everything, for what documents say alone, too: what was changed is seen then.
    """
    for user in (A, B):
        forget_all(store, user)
    models = {A: SometimesRemembers(), B: SometimesRemembers()}
    means = {user: Means(find=find, find_chunks=find, answer=model, chunks=2) for user, model in models.items()}
    now = MONDAY
    for step in history:
        now += timedelta(hours=step.hours)
        if step.user in users:
            with suppress(BadInput):  # all memories are pinned
                DEEDS[step.deed](store, step.user, step.words, now, means[step.user])
    for each in (means[A], replace(means[A], find=None)):
        for topic in TOPICS:
            take_turn(store, A, topic, each, now)
    return models[A].given


def assert_alone_or_not_is_the_same(store, history):
    assert told(store, history, {A}) == told(store, history, {A, B})


COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}


@settings(max_examples=60, **COMMON)
@given(HISTORIES)
def test_another_user_changes_nothing_in_a_users_prompts(quick_store, history):
    assert_alone_or_not_is_the_same(quick_store, history)


@pytest.mark.slow
@settings(max_examples=10_000, **COMMON)
@given(HISTORIES)
def test_another_user_changes_nothing_in_a_users_prompts_in_ten_thousand_histories(quick_store, history):
    assert_alone_or_not_is_the_same(quick_store, history)
