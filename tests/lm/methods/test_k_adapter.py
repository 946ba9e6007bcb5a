import copy

import pytest
import torch
from torch import nn

from tasks.errors import BadInput
from tasks.lm.adapters import adapter_of
from tasks.lm.causal import load
from tasks.lm.generate import answer
from tasks.lm.logits import head_of, hidden_states
from tasks.lm.methods.k_adapter import KAdapter, layers_to_take
from tasks.method_params import KAdapter as KAdapterSettings
from tests.lm.methods.a_slice import IDS, changed, contents, logits, start, train_slice, weights


def k_adapter(seed=3, **settings):
    return KAdapter(KAdapterSettings(name="k_adapter", **({"width": 4} | settings)), seed)


def strong(model):
    for adapter in adapter_of(model).adapters:
        nn.init.normal_(adapter.join.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    return model


def test_it_begins_as_identity(tiny, tmp_path):
    model, tokenizer = tiny
    before = logits(model)
    assert torch.equal(logits(k_adapter().begin(model, tokenizer, tmp_path)), before)


def test_its_output_is_added_to_the_last_hidden_state(tiny, tmp_path):
    """Against the same arithmetic, written out, on the states that the backbone itself reports."""
    model, tokenizer = tiny
    reported = copy.deepcopy(model)(IDS, output_hidden_states=True).hidden_states  # embeddings, block 0, final
    last = reported[-1]
    blocks = []
    model.gpt_neox.layers[1].register_forward_hook(lambda _, inputs, output: blocks.append(output))
    model(IDS)
    states = [reported[1], blocks[0]]  # the last block's before the final norm
    model = strong(k_adapter().begin(model, tokenizer, tmp_path))
    (adapter,) = adapter_of(model).adapters
    assert len(adapter.layers) == 2
    state = 0.0
    for hidden, layer in zip(states, adapter.layers, strict=True):
        taken = (hidden - hidden.mean(-1, keepdim=True)) / (hidden.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        x = taken + state
        low = layer.down(x)
        state = x + layer.up(low + layer.inner[3](nn.functional.gelu(layer.inner[1](layer.inner[0](low)))))
    expected = last + last @ adapter.join.weight[:, :32].T + state @ adapter.join.weight[:, 32:].T + adapter.join.bias
    torch.testing.assert_close(hidden_states(model, IDS), expected, rtol=1e-4, atol=1e-5)
    assert (expected - last).abs().max() > 0.1
    torch.testing.assert_close(head_of(model)(hidden_states(model, IDS)), logits(model))


def test_generation_is_greedy_decoding_from_the_hidden_states(tiny, tmp_path):
    model, tokenizer = tiny
    model = strong(k_adapter().begin(model, tokenizer, tmp_path)).eval()
    expected = IDS[:1]
    for _ in range(10):
        expected = torch.cat([expected, head_of(model)(hidden_states(model, expected))[:, -1:].argmax(-1)], 1)
    made = model.generate(IDS[:1], attention_mask=torch.ones_like(IDS[:1]), max_new_tokens=10, do_sample=False,
                          eos_token_id=-1, pad_token_id=0)  # fmt: skip
    assert torch.equal(made, expected)


def test_a_slice_trains_its_adapter_alone_and_the_model_carries_it(tiny, rows, tmp_path):
    previous = start(tiny, tmp_path / "base")
    trained, said = train_slice(k_adapter(), rows, previous, tmp_path / "one")
    after = weights(tmp_path / "one")
    assert changed(weights(previous), after) == {name for name in after if name.startswith("adapter.adapters.0.")}
    loaded, tokenizer = load(tmp_path / "one")
    assert all(value.requires_grad for value in loaded.parameters())
    assert torch.equal(logits(loaded), said)
    assert (said - logits(load(previous)[0])).abs().max() > 0.01
    assert answer(loaded, tokenizer, rows[0]["prompt"]) == answer(trained, tokenizer, rows[0]["prompt"])


def test_every_part_of_it_is_trained(tiny, rows, tmp_path):
    """The join begins as zero: after its first step the layers get gradients, too."""
    model, tokenizer = tiny
    begun = k_adapter().begin(model, tokenizer, tmp_path / "base")
    before = {name: value.detach().clone() for name, value in adapter_of(begun).named_parameters()}
    trained, _ = train_slice(
        k_adapter(), rows, start((copy_without(begun), tokenizer), tmp_path / "base"), tmp_path / "one"
    )
    after = dict(adapter_of(trained).named_parameters())
    assert changed(before, after) == set(after)


def copy_without(model):
    """The model before anything was attached."""
    again = type(model)(model.config)
    again.load_state_dict({name: value for name, value in model.state_dict().items() if not name.startswith("adapter")})
    return again


def test_each_slice_adds_one_and_the_earlier_ones_stay(tiny, rows, tmp_path):
    train_slice(k_adapter(), rows[:6], start(tiny, tmp_path / "base"), tmp_path / "one")
    model, tokenizer = load(tmp_path / "one")
    said = logits(model)
    assert torch.equal(logits(k_adapter().begin(model, tokenizer, tmp_path / "one")), said)
    _, then = train_slice(k_adapter(), rows[6:], tmp_path / "one", tmp_path / "two")
    assert torch.equal(logits(load(tmp_path / "two")[0]), then)
    after = weights(tmp_path / "two")
    moved = changed(weights(tmp_path / "one"), after)
    assert moved == {name for name in after if name.startswith("adapter.adapters.1.")}
    assert moved
    train_slice(k_adapter(), rows, tmp_path / "two", tmp_path / "three")
    assert len(adapter_of(load(tmp_path / "three")[0]).adapters) == 3


def test_adapters_of_two_slices_do_not_see_each_other(tiny, tmp_path):
    """The change that both make is the sum of what each makes alone."""
    model, tokenizer = tiny
    plain = hidden_states(model, IDS).detach()
    model = k_adapter().begin(model, tokenizer, tmp_path)
    model = strong(k_adapter().begin(model, tokenizer, tmp_path))
    both = hidden_states(model, IDS) - plain
    alone = []
    for silent in (1, 0):
        one = copy.deepcopy(model)
        nn.init.zeros_(adapter_of(one).adapters[silent].join.weight)
        alone.append(hidden_states(one, IDS) - plain)
    torch.testing.assert_close(both, sum(alone), rtol=1e-4, atol=1e-5)


def test_one_adapter_can_be_trained_on(tiny, rows, tmp_path):
    train_slice(k_adapter(per_slice=False), rows[:6], start(tiny, tmp_path / "base"), tmp_path / "one")
    train_slice(k_adapter(per_slice=False), rows[6:], tmp_path / "one", tmp_path / "two")
    after = weights(tmp_path / "two")
    assert changed(weights(tmp_path / "one"), after) == {
        name for name in after if name.startswith("adapter.adapters.0.")
    }


def test_a_copy_of_the_model_has_adapters_of_its_own(tiny, tmp_path):
    model, tokenizer = tiny
    student = strong(k_adapter().begin(model, tokenizer, tmp_path))
    teacher = copy.deepcopy(student)
    before = logits(teacher)
    with torch.no_grad():
        for value in adapter_of(student).parameters():
            value.add_(0.3)
    logits(student)
    assert torch.equal(logits(teacher), before)
    assert not torch.allclose(logits(student), before)


@pytest.mark.parametrize(
    ("chosen", "blocks", "expected"), [((), 24, [0, 11, 23]), ((), 2, [0, 1]), ((), 1, [0]), ((3, 1), 4, [1, 3])]
)
def test_which_blocks_are_taken(chosen, blocks, expected):
    assert layers_to_take(chosen, blocks) == expected


def test_a_block_that_is_not_there_is_the_users_mistake(tiny, tmp_path):
    model, tokenizer = tiny
    with pytest.raises(BadInput, match="block 2 of a model that has 2"):
        k_adapter(layers=(0, 2)).begin(model, tokenizer, tmp_path)


def test_another_width_than_the_model_carries_is_refused(tiny, rows, tmp_path):
    train_slice(k_adapter(), rows, start(tiny, tmp_path / "base"), tmp_path / "one")
    model, tokenizer = load(tmp_path / "one")
    with pytest.raises(BadInput, match="carries k_adapter"):
        k_adapter(width=8).begin(model, tokenizer, tmp_path / "one")


def test_two_runs_give_the_same_bytes(tiny, rows, tmp_path):
    base = start(tiny, tmp_path / "base")
    for name in ("a", "b"):
        torch.manual_seed(ord(name))
        train_slice(k_adapter(), rows[:6], base, tmp_path / name)
        train_slice(k_adapter(), rows[6:], tmp_path / name, tmp_path / f"{name}2")
    assert contents(tmp_path / "a2") == contents(tmp_path / "b2")
