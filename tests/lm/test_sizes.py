"""What a model will take is what it takes."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tasks.adapter_params import LoRA
from tasks.errors import BadInput
from tasks.lm.blocks import checkpoint_activations
from tasks.lm.logits import COMPUTED_IN, hidden_states
from tasks.lm.methods import build_methods
from tasks.lm.sizes import FLOAT, LENGTH, sizes_of
from tests.lm.architectures import CONFIGS

BLOCKS, WORDS = 7, 500
LORA = LoRA(name="lora", rank=4)


def config_of(kind, **more):
    return AutoConfig.for_model(kind, vocab_size=WORDS, **CONFIGS[kind] | {"num_hidden_layers": BLOCKS} | more)


def kept_by(model, tokens):
    """Bytes that a forward pass of the whole model keeps, parameters apart."""
    own = {value.untyped_storage().data_ptr() for value in [*model.parameters(), *model.buffers()]}
    kept = {}

    def keep(value):
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        hidden_states(model, torch.zeros(tokens // LENGTH, LENGTH, dtype=torch.long))
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("kind", ["gpt_neox", "llama", "qwen3", "gemma3_text"])
@pytest.mark.parametrize("methods", [(), (LORA,)])
def test_parameters_and_what_is_kept_for_the_way_back_are_those_of_the_whole_model(kind, methods, tmp_path):
    config = config_of(kind)
    told = sizes_of(config, methods, 128)
    model = AutoModelForCausalLM.from_config(config)
    assert told.parameters == sum(value.numel() for value in model.parameters())
    for method in build_methods(methods, 0, 1, tmp_path):
        model = method.begin(model, None, tmp_path)
    model.train()
    assert told.trained == sum(value.numel() for value in model.parameters() if value.requires_grad)
    assert told.activations == pytest.approx(kept_by(model, 128), rel=0.02)
    assert told.seconds > 0


def test_the_peak_is_the_larger_of_the_end_of_the_way_there_and_back():
    told = sizes_of(config_of("llama"), (), 4096)
    head = FLOAT * told.width * WORDS
    assert told.activations + told.logits + head > FLOAT * told.trained
    own = told.weights + told.moments + told.activations + told.logits + head
    assert told.peak == pytest.approx(550 * 2**20 + 1.15 * own, rel=1e-6)
    few = told.with_batch(1)
    assert few.activations < FLOAT * few.trained
    assert few.peak == pytest.approx(550 * 2**20 + 1.15 * 4 * told.weights, rel=1e-6)


def test_in_parts_the_gradients_of_earlier_parts_are_there_on_the_way_there():
    parts = replace(sizes_of(config_of("llama"), (), 4096), accumulate=4)
    own = 4 * parts.weights + parts.activations + parts.logits
    assert parts.peak == pytest.approx(550 * 2**20 + 1.15 * own, rel=1e-6)


def test_logits_are_held_in_chunks_unless_a_method_adds_to_the_loss(monkeypatch):
    from tasks.method_params import L2

    monkeypatch.setattr("tasks.lm.sizes.MOST_LOGITS", 10 * WORDS)
    plain, pulled = (sizes_of(config_of("llama"), methods, 64) for methods in ((), (L2(name="l2", strength=1.0),)))
    assert plain.logits == 2 * FLOAT * 10 * WORDS and pulled.logits == 3 * FLOAT * 64 * WORDS
    assert replace(plain, accumulate=16).logits == 2 * FLOAT * 4 * WORDS


@pytest.mark.parametrize("kind", ["gpt_neox", "gemma3_text"])
def test_of_blocks_that_are_computed_again_the_inputs_are_kept_and_one_block(kind):
    config = config_of(kind)
    once = sizes_of(config, (), 128)
    again = replace(once, again=True)
    model = AutoModelForCausalLM.from_config(config)
    model.train()
    checkpoint_activations(model)
    assert again.activations == pytest.approx(kept_by(model, 128) + once.block, rel=0.02)
    assert again.activations < 0.4 * once.activations
    forward = once.blocks * once.block_seconds / 3
    assert again.seconds == pytest.approx(once.seconds + forward)


def test_frozen_blocks_in_bfloat16_take_half_the_bytes_once_they_are_loaded(monkeypatch):
    monkeypatch.setitem(COMPUTED_IN, "cpu", torch.bfloat16)
    config = config_of("llama", hidden_size=256, intermediate_size=512)
    wide, narrow = (sizes_of(config, (LORA.model_copy(update={"base": base}),), 8) for base in ("float32", "bfloat16"))
    matrices = sum(
        value.numel() for value in AutoModelForCausalLM.from_config(config).model.layers.parameters() if value.dim() > 1
    )
    assert (wide.saved, narrow.saved) == (0, 2 * matrices)
    assert narrow.step < wide.step and narrow.peak == 550 * 2**20 + round(1.15 * narrow.weights)


def test_a_model_whose_blocks_can_not_be_told_is_measured_all_the_same(monkeypatch):
    def untold(model):
        raise BadInput("its blocks can't be told")

    monkeypatch.setattr("tasks.lm.sizes.blocks_of", untold)
    assert sizes_of(config_of("llama"), (LORA,), 64).saved == 0


def test_what_methods_hold_is_counted():
    from tasks.method_params import EMA, EWC, Distillation

    plain = sizes_of(config_of("llama"), (), 64)
    both = sizes_of(config_of("llama"), (EWC(name="ewc", strength=1.0), EMA(name="ema")), 64)
    assert both.methods == 3 * plain.weights
    taught = sizes_of(config_of("llama"), (LORA, Distillation(name="distillation")), 64)
    assert taught.methods == FLOAT * taught.trained and taught.trained < 0.2 * plain.trained
    whole = sizes_of(config_of("llama"), (Distillation(name="distillation"), LORA), 64)
    assert whole.methods == plain.weights
