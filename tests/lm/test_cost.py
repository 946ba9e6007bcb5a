import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers.pytorch_utils import Conv1D

from tasks.lm.batches import collate, encode
from tasks.lm.cost import measured
from tasks.lm.flops import counted
from tasks.lm.logits import answer_logits
from tasks.lm.methods.adversarial import FGM, PGD
from tasks.method_params import FGM as Settings
from tasks.method_params import PGD as PGDSettings


def test_a_training_step_is_six_operations_per_weight_and_token_and_scoring_two():
    layer = nn.Linear(7, 5, bias=False)
    inputs = torch.randn(11, 7, requires_grad=True)
    with counted() as trained:
        layer(inputs).sum().backward()
    assert trained.count == 6 * 7 * 5 * 11
    with counted() as scored, torch.no_grad():
        layer(inputs)
    assert scored.count == 2 * 7 * 5 * 11


def test_what_needs_no_gradient_is_not_charged_for_one():
    layer = nn.Linear(7, 5, bias=False)
    with counted() as first:
        layer(torch.randn(11, 7)).sum().backward()  # nothing flows back to the inputs
    layer.requires_grad_(False)
    with counted() as frozen:
        layer(torch.randn(11, 7))
    assert (first.count, frozen.count) == (4 * 7 * 5 * 11, 2 * 7 * 5 * 11)


def test_gpt_2s_layers_count_as_linear_ones_do():
    layer, inputs = Conv1D(5, 7), torch.randn(11, 7, requires_grad=True)
    with counted() as operations:
        layer(inputs).sum().backward()
    assert operations.count == 6 * 7 * 5 * 11


def test_torch_counts_the_same_for_a_training_step(tiny, rows):
    model, tokenizer = tiny
    batch = collate(encode(rows, tokenizer, 64), model.device)
    with counted() as ours, FlopCounterMode(display=False) as torchs:
        answer_logits(model, batch).sum().backward()
    assert ours.count == torchs.get_total_flops()


@pytest.mark.parametrize(
    "method",
    [FGM(Settings(name="fgm"), seed=0), PGD(PGDSettings(name="pgd", steps=2), seed=0)],
    ids=["fgm", "pgd"],
)
def test_a_gradient_of_the_embeddings_alone_is_not_charged_for_the_weights(tiny, rows, method):
    model, tokenizer = tiny
    batch = collate(encode(rows, tokenizer, 64), model.device)
    with counted() as ours, FlopCounterMode(display=False) as torchs:
        method.penalty(model, batch, None).backward()
    assert all(value.requires_grad for value in model.parameters())
    assert ours.count == torchs.get_total_flops()


def test_a_models_forward_pass_is_what_its_shapes_say(tiny, rows):
    model, tokenizer = tiny
    batch = collate(encode(rows, tokenizer, 64), model.device)
    with counted() as operations, torch.no_grad():
        answer_logits(model, batch)
    width, layers = model.config.hidden_size, model.config.num_hidden_layers
    block = width * 3 * width + width * width + 2 * width * 4 * width  # attention in and out, two of the MLP
    backbone = 2 * layers * block * batch.ids.numel()
    assert operations.count == backbone + 2 * width * model.config.vocab_size * len(batch.labels)


def test_nothing_is_counted_afterwards():
    with counted() as operations:
        pass
    nn.Linear(2, 2)(torch.randn(1, 2))
    assert operations.count == 0


def test_the_peak_is_that_of_the_work_and_not_of_what_went_before():
    def held(megabytes):
        return lambda: torch.ones(megabytes * 2**18).sum()

    large, small = measured(held(400)), measured(held(1))
    assert large["peak_memory_mb"] - small["peak_memory_mb"] == pytest.approx(400, abs=60)
    assert large["seconds"] >= 0
