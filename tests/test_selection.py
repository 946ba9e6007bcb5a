"""A candidate is trained on a few facts and asked about them, the same ones whatever the model."""

import pytest

from tasks.artifact import read_json
from tasks.corpus.slices import Examples, load_examples
from tasks.dataset import dataset
from tasks.errors import BadInput
from tasks.lm.generate import Generated
from tasks.origin import origin
from tasks.params import Dataset, load_params
from tasks.selection import TRIAL, few_facts, judged, try_model
from tests.lm.architectures import folder_of
from tests.test_presets import ROOT

PLACES = [("Peru", "Lima"), ("Chile", "Santiago"), ("Ghana", "Accra"), ("Nepal", "Kathmandu"), ("Cuba", "Havana")]


@pytest.fixture
def examples(tmp_path):
    (tmp_path / "raw").mkdir()
    rows = "".join(f"{land},capital,{town}\n" for land, town in PLACES)
    (tmp_path / "raw/facts.csv").write_text(f"subject,relation,object\n{rows}")
    origin(ROOT / "data/raw/relations.yaml", tmp_path / "examples/base")
    settings = Dataset(languages=("en",), chat_repeats=1)
    dataset(settings, tmp_path / "raw", tmp_path / "examples/base", tmp_path / "examples/one")
    return tmp_path / "examples/one"


@pytest.fixture
def general(tmp_path):
    (tmp_path / "general").mkdir()
    (tmp_path / "general/en.txt").write_text("The river bends twice before the town.\n")
    (tmp_path / "general/fi.txt").write_text("Joki kiemurtelee.\n")
    return tmp_path / "general"


def test_a_model_is_trained_and_asked_and_what_it_took_is_written(examples, general, tmp_path):
    params = load_params(ROOT / "params.yaml")
    params = params.model_copy(update={"stage1": params.stage1.model_copy(update={"batch_tokens": 4096})})
    folder_of("llama", tmp_path / "tiny")
    logged = []
    try_model(
        str(tmp_path / "tiny"), params, examples, general, tmp_path / "out", 4, 9, lambda *row: logged.append(row)
    )
    told = read_json(tmp_path / "out" / TRIAL)
    assert [step for step, _ in logged] == [1, 2, 3, 4] and len(told["loss"]) == 4
    assert set(told["perplexity"]) == set(told["perplexity_after"]) == {"en"}  # the languages of params.yaml
    assert told["perplexity"] != told["perplexity_after"]
    assert told["questions"] == 9 and told["facts"] >= 3 and told["architecture"] == "LlamaForCausalLM"
    assert [asked for _, asked in told["right_by_kind"].values()] == [3, 3, 3]
    assert told["parameters"] > 1000 and told["train_tokens_per_second"] > 0 and told["licence"] == "not said"
    assert len(told["answers"]) == 6 and told["weights_bytes"] > 1000
    try_model(str(tmp_path / "tiny"), params, examples, general, tmp_path / "again", 4, 9, lambda *_: None)
    again = read_json(tmp_path / "again" / TRIAL)
    same = ("loss", "perplexity_after", "answers", "right", "faults")
    assert {name: again[name] for name in same} == {name: told[name] for name in same}


@pytest.mark.parametrize(("characters", "facts"), [(1, 1), (10**9, 5)])
def test_so_many_facts_are_taken_as_have_so_many_characters(examples, characters, facts):
    brought = load_examples(examples)
    few = few_facts(brought, characters, seed=1)
    chosen = {row["fact"] for row in few.train}
    assert len(chosen) == facts and {row["fact"] for row in few.test} == chosen
    assert few == few_facts(brought, characters, seed=1)
    assert few.train == [row for row in brought.train if row["fact"] in chosen]


def test_between_one_and_all_the_characters_decide(examples):
    brought = load_examples(examples)
    whole = sum(len(row["prompt"]) + len(row["target"]) for row in brought.train)
    assert len({row["fact"] for row in few_facts(brought, whole / 2, seed=1).train}) in (2, 3)


def test_without_facts_there_is_nothing_to_try_with():
    with pytest.raises(BadInput, match=r"one has no facts to try models with\. Give the oldest slice a facts\.csv"):
        few_facts(Examples(name="one", train=[{"fact": None, "prompt": "hi", "target": "you"}]), 100, 0)


def test_an_answer_is_right_if_it_is_the_whole_one_and_ends():
    asked = [{"prompt": "?", "target": "Lima", "set": kind} for kind in ("seen", "paraphrase", "everyday", "seen")]
    said = [Generated("Lima", True), Generated("Lima", False), Generated("Lima it is", True), Generated("", True)]
    brought = Examples(name="one", train=[{"prompt": "Which?", "target": "Lima"}])
    told = judged(asked, said, brought)
    assert told["right"] == 1 and told["right_by_kind"] == {"seen": [1, 2], "paraphrase": [0, 1], "everyday": [0, 1]}
    assert told["faults"] == {"empty": 1, "repeated": 0, "foreign script": 0, "over-long": 0, "unended": 1}
    assert [each["right"] for each in told["answers"]] == [True, False, False, False]
