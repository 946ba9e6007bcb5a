import copy

import pytest
import torch
from torch import nn

from tasks.lm.batches import collate, encode
from tasks.lm.methods.method import Share
from tasks.lm.methods.reptile import Reptile, outer_step
from tasks.method_params import Reptile as ReptileSettings

SETTINGS = ReptileSettings(name="reptile", outer_steps=3, inner_steps=2, inner_rate=0.5, step_size=0.25, batch_rows=4)


def weights(model):
    return torch.cat([value.detach().flatten() for value in model.parameters()])


def method_for(model, tokenizer, folder, seed=0):
    method = Reptile(SETTINGS, seed)
    method.begin(model, tokenizer, folder)
    return method


def by_hand(model, batches, rate, step_size):
    """phi from torch's own SGD on a copy, with the loss over whole logits; then theta + epsilon * (phi - theta)."""
    learner = copy.deepcopy(model)
    optimizer = torch.optim.SGD(learner.parameters(), lr=rate)
    for batch in batches:
        optimizer.zero_grad()
        logits = learner(batch.ids).logits[batch.predicts]
        (-logits.log_softmax(-1)[torch.arange(len(batch.labels)), batch.labels]).mean().backward()
        optimizer.step()
    return weights(model) + step_size * (weights(learner) - weights(model))


def test_an_outer_step_goes_a_part_of_the_way_to_where_sgd_leads(tiny, rows):
    model, tokenizer = tiny
    batches = [collate(encode(some, tokenizer, 64), model.device) for some in (rows[:3], rows[3:8], rows[8:])]
    start, expected = weights(model), by_hand(model, batches, 0.5, 0.25)
    outer_step(model, batches, SETTINGS)
    torch.testing.assert_close(weights(model), expected, rtol=1e-4, atol=1e-6)
    assert (expected - start).abs().max() > 1e-3


def test_the_new_slice_starts_from_the_outer_steps_over_older_slices(tiny, rows, tmp_path):
    """Of one older slice with one row every batch is the same, so the whole can be computed by hand."""
    model, tokenizer = tiny
    batch = collate(encode([rows[0]] * 4, tokenizer, 64), model.device)
    theta = copy.deepcopy(model)
    for _ in range(3):
        flat = by_hand(theta, [batch, batch], 0.5, 0.25)
        nn.utils.vector_to_parameters(flat, theta.parameters())
    shares = [Share(rows[6:], 1.0)]
    assert method_for(model, tokenizer, tmp_path).examples(shares, [rows[0]]) == shares
    torch.testing.assert_close(weights(model), weights(theta), rtol=1e-3, atol=1e-5)


def test_every_older_slice_is_drawn_and_one_at_a_time(tiny, rows, tmp_path, monkeypatch):
    older = [{**row, "id": f"{name}/{number}"} for name in "abc" for number, row in enumerate(rows[:6])]
    drawn = []
    method = method_for(*tiny, tmp_path)
    whole = Reptile._drawn
    monkeypatch.setattr(
        Reptile,
        "_drawn",
        lambda self, task, random: drawn.append({row["id"][0] for row in task}) or whole(self, task, random),
    )
    for seed in range(6):
        method.seed = seed
        method.examples([], older)
    assert {len(each) for each in drawn} == {1}
    assert set.union(*drawn) == set("abc")


def test_without_older_rows_nothing_happens_and_the_training_random_state_is_left_alone(tiny, rows, tmp_path):
    model, tokenizer = tiny
    start, state = weights(model), torch.get_rng_state()
    method_for(model, tokenizer, tmp_path).examples([Share(rows, 1.0)], [])
    assert torch.equal(weights(model), start)
    method_for(model, tokenizer, tmp_path).examples([Share(rows, 1.0)], rows)
    assert not torch.equal(weights(model), start)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_resumed_run_begins_with_the_same_bytes(tiny, rows, tmp_path):
    model, tokenizer = tiny
    twin = copy.deepcopy(model)
    for each in (model, twin):
        method_for(each, tokenizer, tmp_path).examples([Share(rows, 1.0)], rows)
    assert torch.equal(weights(model), weights(twin))


def test_a_frozen_weight_stays_where_it_is(tiny, rows):
    model, tokenizer = tiny
    model.get_input_embeddings().weight.requires_grad_(False)
    before = model.get_input_embeddings().weight.detach().clone()
    outer_step(model, [collate(encode(rows, tokenizer, 64), model.device)], SETTINGS)
    assert torch.equal(model.get_input_embeddings().weight, before)


@pytest.mark.parametrize("wrong", [{"step_size": 0.0}, {"step_size": 1.5}, {"inner_steps": 0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError):
        ReptileSettings(name="reptile", **wrong)
