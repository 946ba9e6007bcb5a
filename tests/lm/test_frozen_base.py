"""Adapters over a base in bfloat16: what is merged is float32, and a teacher shares what is frozen."""

import pytest
import torch
from pydantic import ValidationError

from tasks.errors import BadInput
from tasks.lm import logits as products
from tasks.lm.blocks import blocks_of
from tasks.lm.causal import load
from tasks.lm.methods.distillation import Distillation
from tasks.lm.methods.lora import LoRA, layers_of
from tasks.lm.methods.seen import Seen
from tasks.method_params import Distillation as DistillationSettings
from tasks.method_params import LoRA as LoRASettings
from tests.lm.architectures import folder_of
from tests.lm.methods.a_slice import changed, logits, start, train_slice, weights

SETTINGS = LoRASettings(name="lora", rank=4, alpha=8, target_modules="all-linear", base="bfloat16")


@pytest.fixture
def narrow_products(monkeypatch):
    monkeypatch.setitem(products.COMPUTED_IN, "cpu", torch.bfloat16)


def bytes_of(model):
    return sum(value.nbytes for value in blocks_of(model).parameters() if not value.requires_grad)


@pytest.mark.parametrize("kind", ["gpt_neox", "gpt2", "llama", "gemma2", "qwen3", "mistral"])
def test_frozen_blocks_take_half_the_bytes_and_are_given_back_bit_for_bit(kind, tmp_path, narrow_products):
    folder_of(kind, tmp_path / "base")
    model, tokenizer = load(tmp_path / "base")
    before, held = weights(tmp_path / "base"), bytes_of(model.requires_grad_(False))
    method = LoRA(SETTINGS, seed=3)
    model = method.begin(model, tokenizer, tmp_path / "base")
    assert bytes_of(model) < 0.6 * held
    assert all(value.dtype == torch.float32 for value in model.parameters() if value.requires_grad)
    assert model.get_input_embeddings().weight.dtype == torch.float32
    model = method.end(model, None, tmp_path / "method")  # B is zero still
    after = {name: value.detach() for name, value in model.named_parameters()}
    assert {value.dtype for value in after.values()} == {torch.float32}
    assert all(torch.equal(value, before[name]) for name, value in after.items() if name in before)
    assert len(after.keys() & before.keys()) > 10


def test_what_is_learnt_is_added_to_the_weights_as_they_were(tiny, rows, tmp_path, narrow_products):
    previous = start(tiny, tmp_path / "base")
    model, tokenizer = load(previous)
    method = LoRA(SETTINGS, seed=3)
    model = method.begin(model, tokenizer, previous)
    change = {}
    for name, layer in layers_of(model).items():
        torch.nn.init.normal_(layer.lora_B["default"].weight, std=1e-4)
        change[name] = 2.0 * layer.lora_B["default"].weight.detach() @ layer.lora_A["default"].weight.detach()
    model = method.end(model, None, tmp_path / "method")
    before = weights(previous)
    for name, value in change.items():  # far below what bfloat16 tells apart
        torch.testing.assert_close(model.get_submodule(name).weight.detach(), before[f"{name}.weight"] + value)
    assert change


def test_a_slice_is_learnt_over_it_as_over_float32(tiny, rows, tmp_path, narrow_products):
    previous = start(tiny, tmp_path / "base")
    found = {}
    for base in ("float32", "bfloat16"):
        method = LoRA(SETTINGS.model_copy(update={"base": base}), seed=3)
        merged, _ = train_slice(method, rows, previous, tmp_path / base)
        found[base] = logits(merged)
    before = logits(load(previous)[0])
    assert (found["float32"] - before).abs().max() > 0.2
    assert (found["bfloat16"] - found["float32"]).abs().mean() < 0.1 * (found["float32"] - before).abs().mean()
    names = changed(weights(previous), weights(tmp_path / "bfloat16"))
    assert names == changed(weights(previous), weights(tmp_path / "float32")) and names


def test_where_products_are_float32_it_is_refused(tiny, tmp_path):
    previous = start(tiny, tmp_path / "base")
    model, tokenizer = load(previous)
    with pytest.raises(BadInput, match=r"needs products in bfloat16: set `precision: bfloat16` in params\.yaml"):
        LoRA(SETTINGS, seed=3).begin(model, tokenizer, previous)


def test_dora_needs_the_weights_themselves():
    with pytest.raises(ValidationError, match="dora learns the magnitudes"):
        LoRASettings(name="lora", dora=True, base="bfloat16")


@pytest.mark.parametrize("adapter_first", [True, False])
def test_a_teacher_shares_what_an_adapter_before_it_has_frozen(tiny, rows, tmp_path, adapter_first):
    model, tokenizer = tiny
    before = logits(model)
    taught = Distillation(DistillationSettings(name="distillation"), 0)
    taught.seen = Seen(slices=1)
    adapter = LoRA(SETTINGS.model_copy(update={"base": "float32"}), seed=3)
    for method in (adapter, taught) if adapter_first else (taught, adapter):
        model = method.begin(model, tokenizer, tmp_path)
    own = {value.data_ptr() for value in model.parameters()}
    shared = [value.data_ptr() in own for value in taught.teacher.parameters()]
    assert any(shared) == adapter_first
    trained = sum(value.requires_grad for value in model.parameters())
    assert shared.count(False) == (trained if adapter_first else len(shared))
    for layer in layers_of(model).values():
        torch.nn.init.normal_(layer.lora_B["default"].weight)
    assert not torch.equal(logits(model), before)
    assert torch.equal(logits(taught.teacher), before)
