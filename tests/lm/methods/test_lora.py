import math

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel

from tasks.errors import BadInput
from tasks.lm.causal import load
from tasks.lm.generate import answer
from tasks.lm.methods.lora import LoRA, add_slice, layers_of
from tasks.method_params import LoRA as LoRASettings
from tests.lm.methods.a_slice import changed, contents, logits, start, train_slice, weights

ATTENTION = {f"gpt_neox.layers.{layer}.attention.query_key_value.weight" for layer in (0, 1)}


def lora(**settings):
    return LoRA(LoRASettings(name="lora", rank=4, alpha=8, **settings), seed=3)


def test_before_training_the_model_is_the_one_before(tiny, tmp_path):
    model, tokenizer = tiny
    before = logits(model)
    for method in (lora(), lora(dora=True), lora(initial="gaussian"), lora(target_modules="all-linear")):
        wrapped = method.begin(model, tokenizer, tmp_path)
        torch.testing.assert_close(logits(wrapped), before)
        model = method.end(wrapped, None, tmp_path / "method")


@pytest.mark.parametrize(
    "settings",
    [{}, {"dora": True}, {"rslora": True}, {"target_modules": "all-linear"}, {"initial": "gaussian", "dropout": 0.1}],
    ids=str,
)
def test_the_merged_model_says_what_the_trained_one_said(tiny, rows, tmp_path, settings):
    previous = start(tiny, tmp_path / "base")
    before = logits(load(previous)[0])
    merged, trained = train_slice(lora(**settings), rows, previous, tmp_path / "one")
    assert (trained - before).abs().max() > 0.01
    torch.testing.assert_close(logits(merged), trained, rtol=1e-4, atol=1e-5)
    loaded, tokenizer = load(tmp_path / "one")
    assert torch.equal(logits(loaded), logits(merged))
    assert all(value.requires_grad for value in merged.parameters())
    assert isinstance(answer(loaded, tokenizer, rows[0]["prompt"]), str)


@pytest.mark.parametrize(("head", "extra"), [(False, set()), (True, {"lm_head.weight"})], ids=["", "head"])
def test_only_the_adapted_weights_change_and_they_change_by_the_rank(tiny, rows, tmp_path, head, extra):
    previous = start(tiny, tmp_path / "base")
    train_slice(lora(train_head=head), rows, previous, tmp_path / "one")
    before, after = weights(previous), weights(tmp_path / "one")
    assert changed(before, after) == ATTENTION | extra
    for name in ATTENTION:
        assert torch.linalg.matrix_rank(after[name] - before[name], atol=1e-5) == 4


@pytest.mark.parametrize(("rslora", "scale"), [(False, 8 / 4), (True, 8 / math.sqrt(4))], ids=["lora", "rslora"])
def test_what_is_added_is_the_scale_times_b_times_a(tiny, rows, tmp_path, rslora, scale):
    model, tokenizer = tiny
    method = lora(rslora=rslora)
    method.begin(model, tokenizer, tmp_path)
    layers = layers_of(model)
    before = {name: layer.base_layer.weight.detach().clone() for name, layer in layers.items()}
    pairs = {}
    for name, layer in layers.items():
        torch.nn.init.normal_(layer.lora_B["default"].weight)
        pairs[name] = (layer.lora_A["default"].weight.detach(), layer.lora_B["default"].weight.detach())
    method.end(model, None, tmp_path / "method")
    for name, (a, b) in pairs.items():
        expected = before[name] + scale * torch.einsum("or,ri->oi", b, a)
        torch.testing.assert_close(model.get_submodule(name).weight.detach(), expected)


def test_the_weights_merged_by_dora_are_magnitude_times_direction(tiny, tmp_path):
    model, tokenizer = tiny
    method = lora(dora=True)
    method.begin(model, tokenizer, tmp_path)
    name, layer = next(iter(layers_of(model).items()))
    torch.nn.init.normal_(layer.lora_B["default"].weight)
    magnitude = layer.lora_magnitude_vector["default"].weight
    torch.nn.init.uniform_(magnitude)
    changed = layer.base_layer.weight + 2.0 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    expected = (magnitude[:, None] * changed / changed.norm(dim=1, keepdim=True)).detach()
    method.end(model, None, tmp_path / "method")
    torch.testing.assert_close(model.get_submodule(name).weight.detach(), expected)


def test_a_tied_head_that_is_trained_leaves_the_embeddings_alone(tiny, rows, tmp_path):
    tied = gpt2(), tiny[1]
    previous = start(tied, tmp_path / "base")
    train_slice(lora(train_head=True), rows, previous, tmp_path / "one")
    before, after = weights(previous), weights(tmp_path / "one")
    assert changed(before, after) == {
        "lm_head.weight", "transformer.h.0.attn.c_attn.weight", "transformer.h.1.attn.c_attn.weight"
    }  # fmt: skip
    assert torch.equal(before["transformer.wte.weight"], after["transformer.wte.weight"])


def gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=320, n_positions=64, n_embd=16, n_layer=2, n_head=2))


@pytest.mark.parametrize("make", [None, gpt2], ids=["gpt-neox", "gpt-2"])
def test_a_slice_that_was_kept_apart_can_be_taken_out_and_put_elsewhere(tiny, rows, tmp_path, make):
    base = start((make(), tiny[1]) if make else tiny, tmp_path / "base")
    train_slice(lora(keep="apart"), rows[:6], base, tmp_path / "one")
    train_slice(lora(keep="apart", rslora=True), rows[6:], tmp_path / "one", tmp_path / "two")
    kept = tmp_path / "two" / "method" / "adapters"
    assert sorted(path.name for path in kept.iterdir()) == ["1.safetensors", "2.safetensors"]
    earlier = tmp_path / "one" / "method" / "adapters" / "1.safetensors"
    assert earlier.read_bytes() == (kept / "1.safetensors").read_bytes()
    model, _ = load(tmp_path / "two")
    expected, _ = load(base)
    add_slice(model, kept / "1.safetensors", -1.0)  # the first is out, the second is in
    add_slice(expected, kept / "2.safetensors", 1.0)
    for name, value in expected.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), value, rtol=1e-4, atol=1e-5)
    add_slice(model, kept / "2.safetensors", -1.0)
    torch.testing.assert_close(logits(model), logits(load(base)[0]), rtol=1e-4, atol=1e-5)


def test_a_merged_slice_leaves_no_adapter(tiny, rows, tmp_path):
    train_slice(lora(), rows, start(tiny, tmp_path / "base"), tmp_path / "one")
    assert {path.name for path in (tmp_path / "one" / "method").iterdir()} == {"slices.json"}


def test_what_is_kept_apart_is_small(tiny, rows, tmp_path):
    train_slice(lora(keep="apart"), rows, start(tiny, tmp_path / "base"), tmp_path / "one")
    tensors = load_file(tmp_path / "one" / "method" / "adapters" / "1.safetensors")
    assert sum(value.numel() for value in tensors.values()) == 2 * 4 * (32 + 96)  # two layers, rank 4


def test_the_rate_is_multiplied(tiny):
    assert lora(learning_rate_factor=5.0).before_update(tiny[0], 0, 1e-3) == pytest.approx(5e-3)


@pytest.mark.parametrize("keep", ["merged", "apart"])
def test_two_runs_give_the_same_bytes(tiny, rows, tmp_path, keep):
    base = start(tiny, tmp_path / "base")
    found = []
    for name in ("a", "b"):
        torch.manual_seed(len(found))  # what happened before in the process does not matter
        train_slice(lora(dropout=0.1, keep=keep), rows, base, tmp_path / name)
        found.append(contents(tmp_path / name))
    assert found[0] == found[1]


def test_what_else_is_trained_can_not_be_kept_apart():
    for more in ({"dora": True}, {"train_head": True}):
        with pytest.raises(ValidationError, match="can't be kept apart"):
            LoRASettings(name="lora", keep="apart", **more)


@pytest.mark.parametrize(
    ("names", "message"),
    [(("nothing",), "finds no layers"), (("embed_in",), "within the blocks"), (("lm_head",), "within the blocks")],
)
def test_layers_that_can_not_be_adapted_are_the_users_mistake(tiny, tmp_path, names, message):
    model, tokenizer = tiny
    with pytest.raises(BadInput, match=message):
        lora(target_modules=names).begin(model, tokenizer, tmp_path)
