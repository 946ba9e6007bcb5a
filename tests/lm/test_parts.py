"""A batch in parts, logits in chunks, blocks computed twice: the same gradients in less memory."""

import pytest
import torch

from tasks.errors import BadInput
from tasks.lm import logits, training
from tasks.lm.batches import collate, encode, parts_of
from tasks.lm.blocks import checkpoint_activations
from tasks.lm.causal import build
from tasks.lm.head import refit_head
from tasks.lm.logits import answer_logits, hidden_states, learn
from tasks.lm.methods import METHODS
from tasks.lm.methods.l2 import L2
from tasks.lm.training import Schedule, train
from tasks.method_params import L2 as L2Settings
from tasks.method_params import FreeLB, KAdapter, LoRA, PrefixTuning, PromptTuning
from tasks.params import Stage2
from tests.lm.architectures import CONFIGS, tiny_model, tokenizer
from tests.lm.conftest import SETTINGS
from tests.lm.test_training import fresh_model, quiet, weights


def gradients(model):
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def of_the_whole(model, batch):
    model.zero_grad()
    loss = torch.nn.functional.cross_entropy(answer_logits(model, batch), batch.labels)
    loss.backward()
    return loss.item(), {name: value.clone() for name, value in gradients(model).items()}


def test_parts_are_the_batchs_rows_in_their_order(tiny, rows):
    model, words = tiny
    batch = collate(encode(rows, words, 64), model.device, [(number % 2, number) for number in range(len(rows))])
    assert list(parts_of(batch, 1)) == [batch]
    parts = list(parts_of(batch, 5))
    assert [len(part.ids) for part in parts] == [3, 3, 2, 2, 2]
    assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)
    assert torch.equal(torch.cat([part.indices for part in parts]), batch.indices)
    assert len(list(parts_of(batch, 99))) == len(rows)


@pytest.mark.parametrize("kind", ["gpt_neox", "gemma2", "gptj"])  # gptj: a head with a bias
def test_chunks_of_logits_give_the_gradients_of_the_whole(kind, rows, monkeypatch):
    model, words = tiny_model(kind), tokenizer()
    batch = collate(encode(rows, words, 64), model.device)
    loss, expected = of_the_whole(model, batch)
    model.zero_grad()
    made = []
    monkeypatch.setattr(
        logits, "logits_of", lambda *given, real=logits.logits_of: made.append(real(*given)) or made[-1]
    )
    most = 3 * len(words)
    hidden = hidden_states(model, batch.ids)[batch.predicts]
    found = learn(model, hidden, batch.labels, 0.5, most)
    assert found.item() == pytest.approx(loss, rel=1e-6)
    assert len(made) > 10 and max(each.numel() for each in made) <= most + 3 * 5  # tiny_model adds five words
    for name, value in gradients(model).items():
        torch.testing.assert_close(value, 0.5 * expected[name], rtol=1e-4, atol=1e-6)


def test_what_fits_into_one_chunk_has_the_very_same_gradients(tiny, rows):
    model, words = tiny
    batch = collate(encode(rows, words, 64), model.device)
    loss, expected = of_the_whole(model, batch)
    model.zero_grad()
    assert learn(model, hidden_states(model, batch.ids)[batch.predicts], batch.labels).item() == loss
    assert all(torch.equal(value, expected[name]) for name, value in gradients(model).items())


def test_a_head_is_refitted_in_chunks_as_at_once(tiny, rows, monkeypatch):
    model, words = tiny
    batch = collate(encode(rows, words, 64), model.device)
    hidden = hidden_states(model, batch.ids)[batch.predicts].detach()
    settings = Stage2(epochs=3, batch_positions=64, learning_rate=1e-2, anchor=0.1)
    heads = []
    for most in (2**26, 7 * 320):
        monkeypatch.setattr("tasks.lm.head.learn", lambda *given, most=most: learn(*given, most=most))
        again = build(SETTINGS, [f"{row['prompt']} {row['target']}" for row in rows], seed=1)[0]
        refit_head(again, hidden, batch.labels, settings, 0, quiet)
        heads.append(logits.head_of(again).weight.detach())
    torch.testing.assert_close(heads[0], heads[1], rtol=1e-3, atol=1e-5)
    assert (heads[0] - logits.head_of(model).weight).abs().max() > 1e-3


@pytest.mark.parametrize("methods", [[], [L2(L2Settings(name="l2", strength=0.5), 0)]], ids=["naive", "l2"])
def test_a_model_learns_the_same_from_batches_in_parts(rows, tmp_path, methods):
    found = []
    for accumulate in (1, 3):
        model, words, data = fresh_model(rows)
        for method in methods:
            method.anchor = {name: 0.9 * value.detach() for name, value in model.named_parameters()}
        schedule = Schedule(12, 1e-3, 0.1, accumulate=accumulate)
        scratch = tmp_path / str(accumulate)
        history = train(model, data, schedule, methods=methods, scratch=scratch, log=quiet, seed=0)
        found.append((weights(model), [row["loss"] for row in history]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-3, atol=1e-3)  # AdamW: by sign where near 0
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-3)


def test_parts_of_a_batch_weigh_as_many_answer_tokens_as_they_have(tiny, rows):
    model, words = tiny
    batch = collate(encode(rows, words, 64), model.device)
    assert len({len(part.labels) for part in parts_of(batch, 4)}) > 1
    loss, expected = of_the_whole(model, batch)
    model.zero_grad()
    assert training._gradients(model, batch, [], 4)[0] == pytest.approx(loss, rel=1e-6)
    for name, value in gradients(model).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_architecture_has_the_same_gradients_where_blocks_are_computed_again(kind, rows):
    model, words = tiny_model(kind), tokenizer()
    model.train()
    batch = collate(encode(rows, words, 64), model.device)
    once = of_the_whole(model, batch)
    checkpoint_activations(model)
    again = of_the_whole(model, batch)
    assert again[0] == once[0] and again[1].keys() == once[1].keys()
    assert all(torch.equal(again[1][name], value) for name, value in once[1].items())


@pytest.mark.parametrize(
    "settings",
    [LoRA(name="lora", dropout=0.2), PromptTuning(name="prompt_tuning"), KAdapter(name="k_adapter"),
     FreeLB(name="freelb", steps=2)],
    ids=lambda settings: settings.name,
)  # fmt: skip
def test_methods_train_the_same_where_blocks_are_computed_again(settings, rows, tmp_path):
    found = []
    for again in (False, True):
        model, words, data = fresh_model(rows, dropout=0.1)
        method = METHODS[settings.name](settings, 0)
        model = method.begin(model, words, tmp_path)
        if again:
            checkpoint_activations(model)
        train(model, data, Schedule(4, 1e-2, 0.1), methods=[method], scratch=tmp_path / str(again), log=quiet, seed=0)
        found.append(weights(model))
    assert torch.equal(*found)


def test_what_has_a_prefix_is_told_before_it_crashes(tiny, tmp_path):
    model, words = tiny
    method = METHODS["prefix_tuning"](PrefixTuning(name="prefix_tuning"), 0)
    model = method.end(method.begin(model, words, tmp_path), None, tmp_path / "method")
    with pytest.raises(BadInput, match="The model has a prefix, from prefix_tuning, with which blocks can't be"):
        checkpoint_activations(model)


def test_a_model_that_can_not_compute_again_says_so(tiny):
    model, _ = tiny
    model.base_model._set_gradient_checkpointing = lambda **_: (_ for _ in ()).throw(ValueError("no flag"))
    with pytest.raises(BadInput, match=r"GPTNeoX.* can't be computed again \(no flag\)\. Set stage1\.activation"):
        checkpoint_activations(model)
