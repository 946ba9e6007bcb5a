import copy

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from tasks.errors import BadInput
from tasks.lm.adapters import adapter_of, description_of, plain
from tasks.lm.batches import collate, encode
from tasks.lm.causal import limit_of, load
from tasks.lm.generate import answer
from tasks.lm.logits import answer_logits, head_of, hidden_states
from tasks.lm.methods.prompts import PrefixTuning, PromptTuning
from tasks.method_params import PrefixTuning as PrefixTuningSettings
from tasks.method_params import PromptTuning as PromptTuningSettings
from tests.lm.methods.a_slice import IDS, changed, contents, logits, start, train_slice, weights


def prompt(seed=3, **settings):
    return PromptTuning(PromptTuningSettings(name="prompt_tuning", **({"virtual_tokens": 5} | settings)), seed)


def prefix(seed=3, **settings):
    return PrefixTuning(PrefixTuningSettings(name="prefix_tuning", **({"virtual_tokens": 5} | settings)), seed)


BOTH = pytest.mark.parametrize("make", [prompt, prefix])


def gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=320, n_positions=64, n_embd=16, n_layer=2, n_head=2)).eval()


def llama():
    """Fewer heads for keys than for queries, and a position limit."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=320, **sizes, num_key_value_heads=2, max_position_embeddings=64)
    ).eval()


def strong(model):
    """A prompt that matters more than a fresh one does."""
    with torch.no_grad():
        adapter_of(model).embedding.weight.add_(torch.randn(5, 1, generator=torch.Generator().manual_seed(0)))
    return model


@BOTH
@pytest.mark.parametrize("architecture", [None, gpt2, llama], ids=["gpt-neox", "gpt-2", "llama"])
def test_hidden_states_are_those_of_the_forward_pass_of_peft(tiny, tmp_path, make, architecture):
    model, tokenizer = (architecture(), tiny[1]) if architecture else tiny
    without = logits(model)
    wrapped = strong(make().begin(model, tokenizer, tmp_path))
    found = head_of(wrapped)(hidden_states(wrapped, IDS))
    torch.testing.assert_close(found, logits(wrapped))
    assert found.shape == without.shape
    assert (found - without).abs().max() > 0.01
    embeddings = plain(wrapped).get_input_embeddings()(IDS)
    torch.testing.assert_close(hidden_states(wrapped, IDS, embeddings), hidden_states(wrapped, IDS))
    torch.testing.assert_close(hidden_states(wrapped, IDS[:1, :4]), hidden_states(wrapped, IDS)[:1, :4])


def test_a_prompt_of_real_tokens_is_the_same_as_those_tokens_before_the_text(tiny, tmp_path):
    model, tokenizer = tiny
    tokens = torch.tensor([[7, 8, 9, 10, 11]])
    whole = model(torch.cat([tokens.expand(3, -1), IDS], 1)).logits[:, 5:]
    for make in (prompt, prefix):
        wrapped = make().begin(copy.deepcopy(model), tokenizer, tmp_path)
        inner = plain(wrapped)
        with torch.no_grad():
            if make is prompt:
                adapter_of(wrapped).embedding.weight.copy_(inner.get_input_embeddings()(tokens)[0])
            else:
                layers = [(keys, values) for keys, values, *_ in inner(tokens, use_cache=True).past_key_values]
                packed = [each[0].transpose(0, 1).flatten(1) for pair in layers for each in pair]
                adapter_of(wrapped).embedding.weight.copy_(torch.cat(packed, 1))
        torch.testing.assert_close(head_of(wrapped)(hidden_states(wrapped, IDS)), whole, rtol=1e-4, atol=1e-5)


@BOTH
def test_generation_is_greedy_decoding_from_the_hidden_states(tiny, tmp_path, make):
    model, tokenizer = tiny
    wrapped = strong(make().begin(model, tokenizer, tmp_path)).eval()
    expected = IDS[:1]
    for _ in range(10):
        expected = torch.cat([expected, head_of(wrapped)(hidden_states(wrapped, expected))[:, -1:].argmax(-1)], 1)
    made = wrapped.generate(IDS[:1], attention_mask=torch.ones_like(IDS[:1]), max_new_tokens=10, do_sample=False,
                            eos_token_id=-1, pad_token_id=0)  # fmt: skip
    assert torch.equal(made, expected)


@BOTH
def test_a_slice_trains_the_prompt_alone_and_the_model_carries_it(tiny, rows, tmp_path, make):
    previous = start(tiny, tmp_path / "base")
    trained, said = train_slice(make(), rows, previous, tmp_path / "one")
    moved = changed(weights(previous), {name.removeprefix("base_model."): v for name, v in trained.named_parameters()})
    assert moved == {"prompt_encoder.default.embedding.weight"}
    loaded, tokenizer = load(tmp_path / "one")
    assert all(value.requires_grad for value in loaded.parameters())
    assert torch.equal(logits(loaded), said)
    assert (said - logits(load(previous)[0])).abs().max() > 0.01
    assert answer(loaded, tokenizer, rows[0]["prompt"]) == answer(trained, tokenizer, rows[0]["prompt"])


@BOTH
def test_the_loss_falls_while_the_prompt_is_trained(tiny, rows, tmp_path, make):
    model, tokenizer = tiny
    batch = collate(encode(rows, tokenizer, limit_of(model)), model.device)

    def loss(model):
        return torch.nn.functional.cross_entropy(answer_logits(model, batch), batch.labels).item()

    previous = start(tiny, tmp_path / "base")
    trained, _ = train_slice(make(learning_rate_factor=10.0), rows, previous, tmp_path / "one", steps=30)
    untrained = make().begin(model, tokenizer, tmp_path)
    assert loss(trained) < loss(untrained) - 0.02  # the model itself is random: a prompt can't do much


@BOTH
def test_the_next_slice_trains_the_same_prompt_on(tiny, rows, tmp_path, make):
    train_slice(make(), rows[:6], start(tiny, tmp_path / "base"), tmp_path / "one")
    model, tokenizer = load(tmp_path / "one")
    first = adapter_of(model).embedding.weight.detach().clone()
    begun = make(seed=77).begin(model, tokenizer, tmp_path / "one")
    assert torch.equal(adapter_of(begun).embedding.weight, first)
    assert [name for name, value in begun.named_parameters() if value.requires_grad] == [
        "prompt_encoder.default.embedding.weight"
    ]
    train_slice(make(), rows[6:], tmp_path / "one", tmp_path / "two")
    second = adapter_of(load(tmp_path / "two")[0]).embedding.weight
    assert second.shape == first.shape
    assert not torch.equal(second, first)


@BOTH
def test_two_runs_give_the_same_bytes(tiny, rows, tmp_path, make):
    base = start(tiny, tmp_path / "base")
    for name in ("a", "b"):
        torch.manual_seed(ord(name))
        train_slice(make(), rows[:6], base, tmp_path / name)
        train_slice(make(), rows[6:], tmp_path / name, tmp_path / f"{name}2")
    assert contents(tmp_path / "a2") == contents(tmp_path / "b2")
    assert "adapter.json" in {str(name) for name in contents(tmp_path / "a2")}


@BOTH
def test_virtual_tokens_take_positions_from_the_text(tiny, rows, tmp_path, make):
    model, tokenizer = tiny
    assert limit_of(model) == 64
    wrapped = make().begin(model, tokenizer, tmp_path)
    assert limit_of(wrapped) == 59
    assert len(answer(wrapped, tokenizer, "Who leads Norway? " * 30, max_new_tokens=20)) > 0


@pytest.mark.parametrize("architecture", [gpt2, llama])
def test_a_text_as_long_as_the_limit_fits(tiny, tmp_path, architecture):
    wrapped = prompt().begin(architecture(), tiny[1], tmp_path)
    assert hidden_states(wrapped, torch.zeros(1, limit_of(wrapped), dtype=torch.long)).shape == (1, 59, 16)


@BOTH
def test_a_prompt_that_leaves_no_room_is_the_users_mistake(tiny, tmp_path, make):
    model, tokenizer = tiny
    with pytest.raises(BadInput, match="33 virtual tokens"):
        make(virtual_tokens=33).begin(model, tokenizer, tmp_path)


@pytest.mark.parametrize(("first", "then"), [(prompt, prefix), (prefix, prompt)])
def test_another_kind_or_size_than_the_model_carries_is_refused(tiny, rows, tmp_path, first, then):
    train_slice(first(), rows, start(tiny, tmp_path / "base"), tmp_path / "one")
    for method in (then(), first(virtual_tokens=6)):
        model, tokenizer = load(tmp_path / "one")
        with pytest.raises(BadInput, match=f"carries {description_of(model)['kind']}"):
            method.begin(model, tokenizer, tmp_path / "one")


def test_a_prefix_begins_as_keys_and_values_of_tokens(tiny, tmp_path):
    model, tokenizer = tiny
    wrapped = prefix(seed=4).begin(model, tokenizer, tmp_path)
    ids = torch.randint(320, (1, 5), generator=torch.Generator().manual_seed(4))
    expected = model(torch.cat([ids.expand(3, -1), IDS], 1)).logits[:, 5:]
    torch.testing.assert_close(head_of(wrapped)(hidden_states(wrapped, IDS)), expected, rtol=1e-4, atol=1e-5)


def test_a_prompt_begins_as_embeddings_of_tokens(tiny, tmp_path):
    model, tokenizer = tiny
    vocabulary = model.get_input_embeddings().weight.detach().clone()
    wrapped = prompt().begin(model, tokenizer, tmp_path)
    for row in adapter_of(wrapped).embedding.weight:
        assert (vocabulary == row).all(1).any()
