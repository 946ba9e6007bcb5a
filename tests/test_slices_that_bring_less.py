"""Any of a slice's files may be missing: each combination goes through every step to its verdict, or is refused."""

import json
import shutil

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tasks.errors import BadInput
from tasks.lm.causal import build_tokenizer
from tasks.method_params import EWC, Replay
from tasks.params import Keep
from tests.every_step import (
    CHAT, CITIES, EVALUATE, MEMORIES, PRETRAIN, STAGE1, STAGE2, TEXTS, Timeline, examples, facts, lines, same_weights,
)  # fmt: skip

FIRST = facts(("Peru", "Lima"), ("Chile", "Santiago")) | CHAT
NEWS = facts(("Nepal", "Kathmandu"), ("Cuba", "Havana"))
RESTATED = facts(("Peru", "Lima"))
HELD_OUT_TEXT = {"texts.jsonl": lines({"text": "Nothing is trained on 8.", "date": "2020"})}  # by its hash
QUESTIONS = [f"{word} is the motto of {{subject}}?" for word in ("What", "Which", "Now, what", "So what", "Tell: what")]
MOTTO = {
    "questions": [*QUESTIONS, "And the motto of {subject}?"], "paraphrase": "Say the motto of {subject}.",
    "statements": [f"{{subject}}'s motto {verb} {{object}}." for verb in ("is", "reads", "says", "remains")],
}  # fmt: skip
RELATIONS = {"relations.yaml": json.dumps({"relations": {"motto": {"en": MOTTO}}})}
NOTHING_TO_TRAIN_ON = {
    "memories": MEMORIES,
    "restated": RESTATED,
    "test rows": examples("test", "two"),
    "a held-out text": HELD_OUT_TEXT,
    "relations beside memories": RELATIONS | MEMORIES,
    "relations beside restated": RELATIONS | RESTATED,
    "memories and restated": MEMORIES | RESTATED,
}
LITTLE = {
    "chat": CHAT | {"chat.jsonl": lines({"input": "good night", "output": "sleep well"})},
    "texts": TEXTS,
    "train rows": examples("train", "two"),
    "an update": facts(("Peru", "Cusco")),
    "texts and memories": TEXTS | MEMORIES,
    "relations beside chat": RELATIONS | {"chat.jsonl": lines({"input": "bye", "output": "bye"})},
}
REPLAY = (Replay(name="replay", share=0.5),)
WITH_EWC = (*REPLAY, EWC(name="ewc", strength=1.0, samples=4))
PATIENT = STAGE1.model_copy(update={"patience": 1, "look_every": 1})
SETTINGS = {
    "naive": {},
    "naive, all kept": {"keep": Keep(rows="all")},
    "pool": {"keep": Keep(rows="capped", share=0.5), "methods": REPLAY},
    "pool, unused": {"keep": Keep(rows="capped", share=0.5)},
    "fresh rows": {"keep": Keep(rows="all"), "stage2": STAGE2.model_copy(update={"rows": "fresh"})},
    "older rows": {
        "keep": Keep(rows="all"), "methods": REPLAY, "stage2": STAGE2.model_copy(update={"rows": "older"})
    },
    "balanced": {
        "keep": Keep(rows="all"), "methods": WITH_EWC, "stage2": STAGE2.model_copy(update={"rows": "balanced"})
    },
    "patience": {"stage1": PATIENT},
    "patience, replay": {"stage1": PATIENT, "keep": Keep(rows="all"), "methods": REPLAY},
    "shots": {"evaluate": EVALUATE.model_copy(update={"shots": 2})},
    "domains": {"kind": "domain"},
}  # fmt: skip


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """What comes before any slice."""
    root = tmp_path_factory.mktemp("begun")
    Timeline(root).begin()
    return root


@pytest.fixture(scope="module")
def first(begun, tmp_path_factory):
    """A first slice of facts and chat, gone through every step."""
    root = tmp_path_factory.mktemp("first") / "root"
    shutil.copytree(begun, root)
    Timeline(root, keep=Keep(rows="capped", share=0.5)).bring("one", FIRST, "base")
    return root


def after(folder, tmp_path, **settings):
    """A timeline that goes on from a copy of what is in a folder."""
    root = tmp_path / "timeline"
    shutil.copytree(folder, root)
    return Timeline(root, **settings)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_slice_without_training_rows_goes_through_every_step_under_any_settings(first, tmp_path, settings):
    timeline = after(first, tmp_path, **SETTINGS[settings])
    files = list(NOTHING_TO_TRAIN_ON.values())[list(SETTINGS).index(settings) % len(NOTHING_TO_TRAIN_ON)]
    timeline.bring("two", files, "one")
    timeline.bring("three", NEWS, "two")
    assert all(verdict.accepted for verdict in timeline.end())


@pytest.mark.parametrize("brought", [*NOTHING_TO_TRAIN_ON, *LITTLE])
def test_whatever_a_later_slice_leaves_out_it_comes_to_a_verdict(first, tmp_path, brought):
    settings = list(SETTINGS.values())[[*NOTHING_TO_TRAIN_ON, *LITTLE].index(brought) % len(SETTINGS)]
    timeline = after(first, tmp_path, **settings | {"kind": "time"})
    timeline.bring("two", (NOTHING_TO_TRAIN_ON | LITTLE)[brought], "one")
    assert all(verdict.accepted for verdict in timeline.end())
