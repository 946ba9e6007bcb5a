"""Every method learns three slices with stage 2 between them, whether the model's head is tied or its own."""

from pathlib import Path

import pytest
import torch

from tasks.lm.causal import load
from tasks.lm.logits import head_of
from tasks.lm.methods import METHODS
from tasks.params import Keep, Stage1, Stage2, load_params
from tasks.stage1 import stage1
from tasks.stage2 import stage2
from tests.every_step import chained_examples, facts
from tests.lm.architectures import folder_of

STAGE1 = Stage1(steps=2, batch_tokens=128, learning_rate=1e-3, warmup=0.5, checkpoint_every=50)
STAGE2 = Stage2(epochs=1, max_rows=16, batch_positions=256, learning_rate=1e-3)
FACTS = {
    "one": facts(("Peru", "Lima"), ("Chile", "Santiago")),
    "two": facts(("Peru", "Cusco"), ("Nepal", "Kathmandu")),
    "three": facts(("Ghana", "Accra"), ("Fiji", "Suva")),
}
SMALL = {  # of the settings in params.yaml, those that take long, or too much of a tiny model
    "generative": {"rows": 8, "max_new_tokens": 8},
    "frozen_bottom": {"layers": 1},
    "merging": {"how": "task_vectors", "earlier": True, "held_out": 0.2, "coefficients": (0.5,)},
    "prefix_tuning": {"virtual_tokens": 3},
    "prompt_tuning": {"virtual_tokens": 3},
    "ewc": {"samples": 2},
    "reptile": {"outer_steps": 1},
}


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    root = tmp_path_factory.mktemp("slices")
    return chained_examples(root, FACTS)


@pytest.fixture(scope="module")
def settings():
    """The settings of every method, by its name, as the comparison has them."""
    params = load_params(Path(__file__).parents[2] / "params.yaml")
    found = {each.name: each for entry in params.comparison.entries.values() for each in entry.methods}
    return {name: each.model_copy(update=SMALL.get(name, {})) for name, each in found.items()}


@pytest.mark.parametrize("tied", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["tied", "untied"])
@pytest.mark.parametrize("name", METHODS)
def test_three_slices_are_learnt_and_the_model_answers(name, tied, examples, settings, tmp_path):
    folder_of("gpt_neox", tmp_path / "base" / "lm", tied)
    before, quiet = "base", lambda step, values: None
    for slice_ in FACTS:
        if before != "base":
            stage2(STAGE2, 1, examples / before, tmp_path / before / "stage1", tmp_path / before / "lm", quiet)
        previous, out = tmp_path / before / "lm", tmp_path / slice_ / "stage1"
        given = (STAGE1, (settings[name],), Keep(rows="all"), 1, examples / slice_, previous)
        stage1(*given, out, tmp_path / "scratch" / slice_, quiet)
        before = slice_
    model, _ = load(tmp_path / before / "stage1")
    assert head_of(model).weight is not model.get_input_embeddings().weight
    assert all(torch.isfinite(value).all() for value in model.parameters())
