import copy

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from tasks.errors import BadInput
from tasks.lm.adapters import adapter_of
from tasks.lm.causal import load
from tasks.lm.generate import answer
from tasks.lm.logits import head_of, hidden_states
from tasks.lm.methods.bottleneck import Bottleneck
from tasks.lm.methods.lora import LoRA
from tasks.method_params import Bottleneck as BottleneckSettings
from tasks.method_params import LoRA as LoRASettings
from tests.lm.methods.a_slice import IDS, changed, contents, logits, start, train_slice, weights


def bottleneck(width=4, seed=3, **settings):
    return Bottleneck(BottleneckSettings(name="bottleneck", width=width, **settings), seed)


def gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=320, n_positions=64, n_embd=16, n_layer=2, n_head=2)).eval()


def strong(model):
    for module in adapter_of(model).adapters:
        nn.init.normal_(module.up.weight, generator=torch.Generator().manual_seed(0))
    return model


def test_it_begins_as_identity(tiny, tmp_path):
    model, tokenizer = tiny
    before = logits(model)
    assert torch.equal(logits(bottleneck().begin(model, tokenizer, tmp_path)), before)


@pytest.mark.parametrize("make", [None, gpt2], ids=["gpt-neox", "gpt-2"])
def test_after_each_block_its_output_goes_through_the_adapter(tiny, tmp_path, make):
    model, tokenizer = (make(), tiny[1]) if make else tiny
    blocks = copy.deepcopy(model.transformer.h if make else model.gpt_neox.layers)  # without adapters
    model = strong(bottleneck().begin(model, tokenizer, tmp_path)).eval()
    seen = []
    for block in model.transformer.h if make else model.gpt_neox.layers:
        block.register_forward_hook(lambda _, inputs, keywords, output: seen.append((inputs, keywords, output)),
                                    with_kwargs=True)  # fmt: skip
    hidden_states(model, IDS)
    for block, adapter, (inputs, keywords, output) in zip(blocks, adapter_of(model).adapters, seen, strict=True):
        plain = block(*inputs, **keywords)
        squeezed = nn.functional.gelu(plain @ adapter.down.weight.T + adapter.down.bias)
        expected = plain + squeezed @ adapter.up.weight.T + adapter.up.bias
        torch.testing.assert_close(output, expected)
        assert (expected - plain).abs().max() > 0.01


def test_the_head_sees_the_same_in_training_and_in_the_forward_pass(tiny, tmp_path):
    model, tokenizer = tiny
    model = strong(bottleneck().begin(model, tokenizer, tmp_path))
    torch.testing.assert_close(head_of(model)(hidden_states(model, IDS)), logits(model))


def test_generation_is_greedy_decoding_from_the_hidden_states(tiny, tmp_path):
    model, tokenizer = tiny
    model = strong(bottleneck().begin(model, tokenizer, tmp_path)).eval()
    expected = IDS[:1]
    for _ in range(10):
        expected = torch.cat([expected, head_of(model)(hidden_states(model, expected))[:, -1:].argmax(-1)], 1)
    made = model.generate(IDS[:1], attention_mask=torch.ones_like(IDS[:1]), max_new_tokens=10, do_sample=False,
                          eos_token_id=-1, pad_token_id=0)  # fmt: skip
    assert torch.equal(made, expected)


@pytest.mark.parametrize("make", [None, gpt2], ids=["gpt-neox", "tied gpt-2"])
def test_a_slice_trains_the_adapters_alone_and_the_model_carries_them(tiny, rows, tmp_path, make):
    previous = start((make(), tiny[1]) if make else tiny, tmp_path / "base")
    trained, said = train_slice(bottleneck(), rows, previous, tmp_path / "one")
    after = weights(tmp_path / "one")
    moved = changed(weights(previous), after)
    assert moved == {name for name in after if name.startswith("adapter.")}
    assert len(moved) == 2 * 4
    loaded, tokenizer = load(tmp_path / "one")
    assert all(value.requires_grad for value in loaded.parameters())
    assert torch.equal(logits(loaded), said)
    assert (said - logits(load(previous)[0])).abs().max() > 0.01
    assert answer(loaded, tokenizer, rows[0]["prompt"]) == answer(trained, tokenizer, rows[0]["prompt"])


def test_the_next_slice_trains_the_same_adapters_on(tiny, rows, tmp_path):
    train_slice(bottleneck(), rows[:6], start(tiny, tmp_path / "base"), tmp_path / "one")
    model, tokenizer = load(tmp_path / "one")
    said = logits(model)
    assert torch.equal(logits(bottleneck(seed=8).begin(model, tokenizer, tmp_path / "one")), said)
    train_slice(bottleneck(), rows[6:], tmp_path / "one", tmp_path / "two")
    moved = changed(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert moved == {name for name in weights(tmp_path / "two") if name.startswith("adapter.")}


def test_another_width_than_the_model_carries_is_refused(tiny, rows, tmp_path):
    train_slice(bottleneck(), rows, start(tiny, tmp_path / "base"), tmp_path / "one")
    model, tokenizer = load(tmp_path / "one")
    with pytest.raises(BadInput, match=r"carries bottleneck \(width: 4\).* bottleneck \(width: 8\)"):
        bottleneck(width=8).begin(model, tokenizer, tmp_path / "one")


def test_a_copy_of_the_model_has_adapters_of_its_own(tiny, tmp_path):
    """A teacher must not change when the student's adapters do."""
    model, tokenizer = tiny
    student = strong(bottleneck().begin(model, tokenizer, tmp_path))
    teacher = copy.deepcopy(student)
    before = logits(teacher)
    with torch.no_grad():
        for value in adapter_of(student).parameters():
            value.add_(1.0)
    assert torch.equal(logits(teacher), before)
    assert not torch.allclose(logits(student), before)


def test_lora_after_a_slice_with_adapters_leaves_them_as_they_are(tiny, rows, tmp_path):
    train_slice(bottleneck(), rows[:6], start(tiny, tmp_path / "base"), tmp_path / "one")
    lora = LoRA(LoRASettings(name="lora", rank=4), seed=0)
    merged, said = train_slice(lora, rows[6:], tmp_path / "one", tmp_path / "two")
    torch.testing.assert_close(logits(load(tmp_path / "two")[0]), said, rtol=1e-4, atol=1e-5)
    moved = changed(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert moved == {f"gpt_neox.layers.{layer}.attention.query_key_value.weight" for layer in (0, 1)}


def test_two_runs_give_the_same_bytes(tiny, rows, tmp_path):
    base = start(tiny, tmp_path / "base")
    for name in ("a", "b"):
        torch.manual_seed(ord(name))
        train_slice(bottleneck(), rows[:6], base, tmp_path / name)
        train_slice(bottleneck(), rows[6:], tmp_path / name, tmp_path / f"{name}2")
    assert contents(tmp_path / "a2") == contents(tmp_path / "b2")
