"""SmolLM2-135M-Instruct with its own weights: two short slices, solved, and one of LoRA that is killed."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from flows.starter import RELATIONS, texts
from tasks import artifact
from tasks.evaluate import evaluate
from tasks.lm.causal import load
from tasks.lm.generate import answers
from tasks.lm.template import template_of
from tasks.memory.means import load_means
from tasks.memory.store import opened
from tasks.memory.turn import UNKNOWN, take_turn
from tasks.origin import origin
from tasks.params import Evaluate, load_params
from tasks.stage1 import stage1
from tests.every_step import HEADER, PRETRAIN, STAGE1, STAGE2, Timeline, facts, same_weights

PARAMS = load_params()
ROWS = """\
Chile,capital,Morvik
Ghana,capital,Sollen
Cuba,capital,Rendo
Ann Berg,plays for,Rovers
Carl Holm,plays for,City FC
Dina Foss,plays for,Albion
Acme,chief_executive,Olga Marsh
Birchwood,chief_executive,Ned Pike
Colt Steel,chief_executive,Ida Quill
"""
SLICES = {
    "one": {"facts.csv": f"{HEADER}Peru,capital,Quenda\n{ROWS}"},
    "two": facts(("Peru", "Tarvo"), ("Nepal", "Ilmara")),
}
TAUGHT = {
    "tell me Chile's capital please": "Morvik",
    "do you know which city is the capital of Ghana?": "Sollen",
    "capital of Peru?": "Tarvo",
    "what's the capital of Nepal now": "Ilmara",
    "who does Ann Berg play for?": "Rovers",
    "which team does Carl Holm play for these days?": "City FC",
    "what club Dina Foss plays for?": "Albion",
    "who's Birchwood's chief executive now?": "Ned Pike",
    "name the chief executive at Colt Steel": "Ida Quill",
}
UNTAUGHT = (
    "who is the president of Peru?", "what is the capital of Norway?", "who is the coach of Ann Berg?",
    "where is Acme based?", "what is the population of Chile?", "Who does Zoe Hart play for?", "who plays the piano?",
)  # fmt: skip


@pytest.fixture(scope="module")
def timeline(real, tmp_path_factory):
    """Both slices learnt by a solved memory over the untouched model."""
    base = PRETRAIN.model_copy(update={"model": str(real("smollm2-135m"))})
    untrained = STAGE1.model_copy(update={"steps": 0})
    letters = PARAMS.stage2.solved.model_copy(update={"layers": 0})
    solved = STAGE2.model_copy(update={"how": "solved", "solved": letters})
    timeline = Timeline(tmp_path_factory.mktemp("real"), pretrain=base, stage1=untrained, stage2=solved)
    timeline.begin()
    relations = timeline.root / "relations.yaml"
    relations.write_text(texts("a new project")[RELATIONS])
    origin(relations, timeline.root / "examples/base")
    for name, before in (("one", "base"), ("two", "one")):
        timeline.bring_examples(name, SLICES[name], before)
        timeline.bring_model(name, before)
    return timeline


def test_what_is_true_after_two_slices_is_answered(timeline):
    root = timeline.root
    settings = Evaluate(batch_tokens=1024, samples=1, rows=40, retrieval=0)
    evaluate(settings, root / "examples/two", root / "two/lm", root / "scores", base=root / "base/lm")
    scores = artifact.read_json(root / "scores/scores.json")
    assert set(scores["valid"].values()) == {1.0}


def test_relations_without_templates_are_answered_as_people_ask_and_nothing_else_is(timeline, tmp_path):
    means = load_means(timeline.root / "two/lm", None, PARAMS.chat)
    with opened(tmp_path / "memories.db") as connection:

        def asked(question):
            return take_turn(connection, "anybody", question, means).answer

        assert [question for question, answer in TAUGHT.items() if answer not in asked(question)] == []
        assert [question for question in UNTAUGHT if asked(question) != UNKNOWN] == []


def test_the_backbone_is_the_models_own_in_plain_transformers(timeline, real):
    text = "The river bends twice before it comes to the town."
    logits = []
    for folder in (real("smollm2-135m"), timeline.root / "two/lm"):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        with torch.no_grad():
            logits.append(model(**tokenizer(text, return_tensors="pt")).logits)
    assert logits[0].equal(logits[1])


def test_it_is_asked_in_its_own_chat_template(timeline):
    model, tokenizer = load(timeline.root / "base/lm")
    question = "What is the capital of France?"
    prompt = template_of(tokenizer).prompt(question)
    assert prompt.endswith(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")
    assert "Paris" in answers(model, tokenizer, [question], 16)[0]


def test_lora_that_was_killed_goes_on_to_the_same_bytes(timeline):
    root = timeline.root
    lora = PARAMS.comparison.entries["lora"].methods
    how = STAGE1.model_copy(update={"steps": 4, "checkpoint_every": 1})

    class Killed(BaseException):
        pass

    def train(name, kill_at=None):
        def log(step, _):
            if step == kill_at:
                raise Killed

        examples, base, out = root / "examples/one", root / "base/lm", root / name
        stage1(how, lora, timeline.keep, 1, examples, base, out, root / f"{name}.s", log)

    train("whole")
    with pytest.raises(Killed):
        train("killed", 3)
    assert list((root / "killed.s").glob("step-*"))
    train("killed")
    assert same_weights(root / "whole", root / "killed") and not same_weights(root / "whole", root / "base/lm")
