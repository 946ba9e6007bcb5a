"""Any of a slice's files may be missing: each combination goes through every step to its verdict, or is refused."""

import shutil
from itertools import combinations

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tasks.errors import BadInput
from tasks.lm.causal import build_tokenizer
from tasks.method_params import EWC, Replay
from tasks.params import Keep
from tasks.solved_params import Solved
from tests.every_step import (
    CHAT,
    EVALUATE,
    MEMORIES,
    PRETRAIN,
    STAGE1,
    STAGE2,
    TEXTS,
    Timeline,
    examples,
    facts,
    lines,
    same_weights,
    worded,
)  # fmt: skip

FIRST = facts(("Peru", "Lima"), ("Chile", "Santiago")) | CHAT
NEWS = facts(("Nepal", "Kathmandu"), ("Cuba", "Havana"))
RESTATED = facts(("Peru", "Lima"))
HELD_OUT_TEXT = {"texts.jsonl": lines({"text": "A calm note 5.", "date": "2020"})}  # by its hash
RELATIONS = worded("motto", "motto", ("is", "reads", "says", "remains"))
NO_LANGUAGE = {
    "memories": MEMORIES,
    "test rows": examples("test", "two"),
    "a held-out text": HELD_OUT_TEXT,
    "relations, memories": RELATIONS | MEMORIES,
}
NOTHING_TO_TRAIN_ON = NO_LANGUAGE | {
    "restated": RESTATED,
    "relations, restated": RELATIONS | RESTATED,
    "memories, restated, test rows": MEMORIES | RESTATED | examples("test", "two"),
}
LITTLE = {
    "chat": {"chat.jsonl": lines({"input": "good night", "output": "sleep well"})},
    "texts": TEXTS,
    "train rows": examples("train", "two"),
    "an update": facts(("Peru", "Cusco")),
    "relations, chat": RELATIONS | {"chat.jsonl": lines({"input": "bye", "output": "bye"})},
}
BROUGHT = NOTHING_TO_TRAIN_ON | LITTLE
REPLAY = (Replay(name="replay", share=0.5),)
WITH_EWC = (*REPLAY, EWC(name="ewc", strength=1.0, samples=4))
PATIENT = STAGE1.model_copy(update={"patience": 1, "look_every": 1})
SOLVED = STAGE2.model_copy(update={"how": "solved", "solved": Solved(width=256, codes=256, grams=64)})
FRESH, OLDER, BALANCED = (STAGE2.model_copy(update={"rows": rows}) for rows in ("fresh", "older", "balanced"))
ALL, POOL = Keep(rows="all"), Keep(rows="capped", share=0.5)
POOL_OF_ROWS = POOL.model_copy(update={"of": "rows"})
SETTINGS = {
    "nothing kept": {},
    "all kept": {"keep": ALL, "stage2": OLDER},
    "pool": {"keep": POOL, "methods": REPLAY},
    "pool of rows": {"keep": POOL_OF_ROWS, "methods": REPLAY},
    "pool, unused": {"keep": POOL},
    "fresh rows": {"keep": ALL, "methods": REPLAY, "stage2": FRESH},
    "older rows": {"keep": ALL, "methods": REPLAY, "stage2": OLDER},
    "balanced rows": {"keep": ALL, "methods": WITH_EWC, "stage2": BALANCED},
    "patience": {"stage1": PATIENT},
    "patience, replay": {"stage1": PATIENT, "keep": ALL, "methods": REPLAY},
    "shots": {"evaluate": EVALUATE.model_copy(update={"shots": 2})},
    "solved": {"stage2": SOLVED},
    "no retrieval": {"evaluate": EVALUATE.model_copy(update={"retrieval": 0})},
}


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
    Timeline(root, keep=POOL).bring("one", FIRST, "base")
    return root


def after(folder, tmp_path, **settings):
    """A timeline that goes on from a copy of what is in a folder."""
    root = tmp_path / "timeline"
    shutil.copytree(folder, root)
    return Timeline(root, **settings)


def in_turn(number):
    """One of the settings, so that a list of inputs meets all of them."""
    return list(SETTINGS.values())[number % len(SETTINGS)]


@pytest.mark.parametrize("number", range(len(SETTINGS)), ids=list(SETTINGS))
def test_under_any_settings_a_slice_without_training_rows_hands_on_the_model(first, tmp_path, number):
    timeline = after(first, tmp_path, **in_turn(number))
    scores = timeline.bring("two", list(NOTHING_TO_TRAIN_ON.values())[number % len(NOTHING_TO_TRAIN_ON)], "one")
    assert same_weights(timeline.root / "two/lm", timeline.root / "one/lm") is not bool(timeline.methods)  # replay
    assert same_weights(timeline.root / "two/naive", timeline.root / "one/lm")
    assert scores["train_rows"] == 0 and scores["categories"]["retained"] is not None
    timeline.bring("three", NEWS, "two")
    assert not same_weights(timeline.root / "three/lm", timeline.root / "two/lm")
    verdicts = timeline.verdicts(["one", "two", "three"])
    assert all(verdict.decision == "accepted" for verdict in verdicts)
    assert "ok: own facts: slice two brought nothing to learn, so they are not judged" in verdicts[1].told()


@pytest.mark.parametrize("brought", BROUGHT)
def test_whatever_a_later_slice_leaves_out_it_comes_to_a_report(first, tmp_path, brought):
    timeline = after(first, tmp_path, **in_turn(list(BROUGHT).index(brought)))
    timeline.bring("two", BROUGHT[brought], "one")
    assert all(verdict.decision == "accepted" for verdict in timeline.verdicts(["one", "two"]))
    assert "two" in timeline.report()


def test_a_domain_may_bring_as_little(first, tmp_path):
    timeline = after(first, tmp_path, kind="domain", keep=ALL, methods=REPLAY)
    timeline.bring("two", MEMORIES | RESTATED, "one")
    assert all(verdict.decision == "accepted" for verdict in timeline.verdicts(["one", "two"]))
    assert "domain" in timeline.report()


@pytest.mark.parametrize("brought", LITTLE)
def test_whatever_the_oldest_slice_leaves_out_a_model_is_built_from_what_it_has(begun, tmp_path, brought):
    timeline = after(begun, tmp_path, **in_turn(list(LITTLE).index(brought)))
    timeline.bring("one", LITTLE[brought], "base")
    timeline.bring("two", MEMORIES, "one")
    assert all(verdict.decision == "accepted" for verdict in timeline.verdicts(["one", "two"]))


@pytest.mark.parametrize("brought", NO_LANGUAGE)
def test_of_an_oldest_slice_without_language_no_base_is_built_and_the_mend_is_named(begun, tmp_path, brought):
    timeline = after(begun, tmp_path)
    timeline.bring_examples("one", NO_LANGUAGE[brought], "base")
    with pytest.raises(BadInput, match=r"oldest slice, one, has nothing .* in data/raw/one, or name a causal LM"):
        timeline.bring_model("one", "base")


@pytest.mark.parametrize("brought", ["memories", "test rows"])
def test_with_a_pretrained_base_the_oldest_slice_may_be_without_language(begun, tmp_path, brought):
    tokenizer = build_tokenizer(["Lima Santiago Accra What is the capital of"], 300)
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=96, n_embd=16, n_layer=1, n_head=2))
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "pretrained")
    settings = PRETRAIN.model_copy(update={"model": str(tmp_path / "pretrained")})
    timeline = after(begun, tmp_path, pretrain=settings, methods=REPLAY, keep=POOL)
    timeline.bring("one", NO_LANGUAGE[brought], "base")
    assert same_weights(timeline.root / "one/lm", timeline.root / "base/lm")
    for name, files, before in (("two", FIRST, "one"), ("three", RESTATED, "two")):
        timeline.bring(name, files, before)
    assert all(verdict.decision == "accepted" for verdict in timeline.verdicts(["one", "two", "three"]))
    assert "three" in timeline.report()


@pytest.mark.slow
@pytest.mark.parametrize("rows", ["same", "fresh", "older", "balanced"])
@pytest.mark.parametrize("keep", ["none", "capped", "all"])
def test_any_two_kinds_of_files_go_through_every_step_under_any_settings(first, tmp_path, keep, rows):
    stage2 = STAGE2.model_copy(update={"rows": rows})
    for number, pair in enumerate(combinations(BROUGHT, 2)):
        both = {name: content for brought in pair for name, content in BROUGHT[brought].items()}
        for methods in ((), REPLAY):
            folder = tmp_path / f"{number}-{len(methods)}"
            folder.mkdir()
            timeline = after(first, folder, methods=methods, keep=Keep(rows=keep), stage2=stage2)
            timeline.bring("two", both, "one")
            timeline.bring("three", RESTATED if number % 2 else NEWS, "two")
            assert all(verdict.decision == "accepted" for verdict in timeline.verdicts(["one", "two", "three"]))
            shutil.rmtree(folder)
