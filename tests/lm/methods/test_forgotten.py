from collections import Counter

import pytest
import torch

from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.methods.forgotten import Forgotten, row_losses
from tasks.lm.methods.method import Share
from tasks.lm.training import Schedule, train
from tasks.method_params import Forgotten as ForgottenSettings

FRESH = [{"id": "b/0", "prompt": "Who leads Mars?", "target": "Gus", "fact": None}]


def settings(**given):
    return ForgottenSettings(name="forgotten", **given)


def method_for(tiny, folder, **given):
    method = Forgotten(settings(**given), seed=0)
    assert method.begin(*tiny, folder) is tiny[0]
    return method


def one_by_one(model, tokenizer, row):
    """Mean -log p of the answer's tokens, from whole forward passes of one token more each."""
    losses = []
    for sequence in encode([row], tokenizer, 64):
        for place in range(sequence.start, len(sequence.ids)):
            logits = model(torch.tensor([sequence.ids[:place]])).logits[0, -1]
            losses.append(-logits.log_softmax(-1)[sequence.ids[place]])
    return torch.stack(losses).mean().item()


def test_a_rows_loss_is_that_of_its_answer_tokens_alone(tiny, rows):
    long = {**rows[6], "target": "Finn leads Fiji and everyone agrees. " * 12}  # is split into several sequences
    mixed = [*rows[:3], long, *rows[3:8]]
    losses = row_losses(*tiny, mixed)
    assert losses.tolist() == pytest.approx([one_by_one(*tiny, row) for row in mixed], rel=1e-4)


def test_the_rows_that_the_model_has_lost_are_the_ones_that_come_back(tiny, rows, tmp_path):
    model, tokenizer = tiny
    asked = rows[:6]
    data = Mixture([Part(encode([*asked[:2], *asked[4:]], tokenizer, 64), 1.0)], 96, 60, 3, model.device)
    train(model, data, Schedule(60, 1e-2, 0.1), scratch=tmp_path, log=lambda *_: None, seed=0)
    shares = method_for(tiny, tmp_path, rows=2, share=0.4, uniform=0.25).examples([Share(FRESH, 1.0)], rows)
    assert [each["id"] for each in shares[1].rows] == ["one/2", "one/3"]  # the two that were never learnt
    assert shares[0] == Share(FRESH, pytest.approx(0.6))
    assert shares[1].share == pytest.approx(0.3)
    assert shares[2] == Share(rows, pytest.approx(0.1))


def test_statements_are_not_among_the_worst_unless_there_is_nothing_else(tiny, rows, tmp_path):
    method = method_for(tiny, tmp_path, rows=6)
    assert all(row["prompt"] for row in method.examples([Share(FRESH, 1.0)], rows)[1].rows)
    assert method.examples([Share(FRESH, 1.0)], rows[6:])[1].rows == rows[6:]


def test_only_the_candidates_are_scored_and_the_seed_draws_them_evenly(tiny, rows, tmp_path):
    drawn = Counter()
    for seed in range(60):
        method = Forgotten(settings(candidates=2, rows=2), seed)
        method.begin(*tiny, tmp_path)
        worst = method.examples([Share(FRESH, 1.0)], rows)[1].rows
        assert len(worst) == 2
        assert worst == method.examples([Share(FRESH, 1.0)], rows)[1].rows
        drawn.update(row["id"] for row in worst)
    assert set(drawn) == {row["id"] for row in rows[:6]}
    assert max(drawn.values()) <= 35  # 20 expected


def test_the_oldest_slice_has_forgotten_nothing(tiny, tmp_path):
    assert method_for(tiny, tmp_path).examples([Share(FRESH, 1.0)], []) == [Share(FRESH, 1.0)]
