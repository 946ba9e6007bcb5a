import copy

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tasks.lm.batches import Mixture, Part, collate, encode
from tasks.lm.causal import build
from tasks.lm.logits import answer_logits
from tasks.lm.methods.cls_er import ClsEr, logits_by
from tasks.lm.methods.seen import Seen
from tasks.lm.training import Schedule, train
from tasks.method_params import ClsEr as ClsErSettings
from tests.lm.conftest import SETTINGS


def begun(model, tokenizer, folder, seed=0, **settings):
    method = ClsEr(ClsErSettings(name="cls_er", **settings), seed)
    method.begin(model, tokenizer, folder)
    return method


def mixed_batch(rows, tokenizer, device):
    """Rows of the slice before and after rows of two older parts."""
    return collate(encode(rows[6:10], tokenizer, 64), device, [(1, 5), (0, 0), (2, 3), (0, 1)])


def disturb(average, by, seed):
    generator = torch.Generator().manual_seed(seed)
    for value in average.values():
        value.add_(by * torch.randn(value.shape, generator=generator))


def expected_penalty(model, method, rows, tokenizer, weight):
    """The batch's replayed rows one by one, a place at a time, by copies of the model."""
    copies = {}
    for which in ("stable", "plastic"):
        copies[which] = copy.deepcopy(model).eval()
        copies[which].load_state_dict(getattr(method, which), strict=False)
    squares, chosen = [], []
    for sequence in encode([rows[6], rows[8]], tokenizer, 64):
        for place in range(sequence.start, len(sequence.ids)):
            given = torch.tensor([sequence.ids[:place]])
            own = model(given).logits[0, -1]
            teachers = {which: each(given).logits[0, -1].detach() for which, each in copies.items()}
            best = max(teachers, key=lambda which: float(teachers[which].softmax(-1)[sequence.ids[place]]))
            chosen.append(best)
            squares += [(own[token] - teachers[best][token]) ** 2 for token in range(len(own))]
    return weight * sum(squares) / len(squares), chosen


def test_the_penalty_is_the_mean_square_to_the_better_average_on_replayed_places_only(tiny, rows, tmp_path):
    model, tokenizer = tiny
    method = begun(model, tokenizer, tmp_path, weight=2.5)
    disturb(method.stable, 0.02, seed=1)
    disturb(method.plastic, 0.02, seed=2)
    batch = mixed_batch(rows, tokenizer, model.device)
    penalty = method.penalty(model, batch, answer_logits(model, batch))
    expected, chosen = expected_penalty(model, method, rows, tokenizer, 2.5)
    assert set(chosen) == {"stable", "plastic"}
    torch.testing.assert_close(penalty, expected, rtol=1e-4, atol=1e-7)
    gradients = torch.autograd.grad(penalty, list(model.parameters()))
    by_hand = torch.autograd.grad(expected, list(model.parameters()))
    for found, value in zip(gradients, by_hand, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-6)


def test_without_replayed_rows_nothing_is_added(tiny, rows, tmp_path):
    model, tokenizer = tiny
    method = begun(model, tokenizer, tmp_path)
    disturb(method.stable, 0.05, seed=1)
    batch = collate(encode(rows[:4], tokenizer, 64), model.device)
    assert method.penalty(model, batch, answer_logits(model, batch)) == 0.0


def test_the_averages_look_without_dropout_and_leave_the_model_training(tiny, rows, tmp_path):
    model, tokenizer = tiny
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    model.train()
    method = begun(model, tokenizer, tmp_path)
    batch = mixed_batch(rows, tokenizer, model.device)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    logits = answer_logits(model, batch)
    random = torch.get_rng_state()
    penalties = [float(method.penalty(model, batch, logits).detach()) for _ in range(2)]
    assert penalties[0] == penalties[1]
    assert torch.equal(torch.get_rng_state(), random)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())


def updates(seed, steps, **settings):
    """In which steps each average moved, on a model of one weight that grows by one per step."""
    model = nn.Linear(1, 1, bias=False)
    method = begun(model, None, None, seed, **settings)
    moved = {"stable": [], "plastic": []}
    for step in range(steps):
        with torch.no_grad():
            model.weight += 1
        before = {which: getattr(method, which)["weight"].clone() for which in moved}
        method.after_update(model, step)
        for which, value in before.items():
            if not torch.equal(value, getattr(method, which)["weight"]):
                moved[which].append(step)
    return moved


def test_each_average_moves_as_often_as_its_rate_says_and_the_seed_says_when():
    rates = {"stable_rate": 0.3, "plastic_rate": 0.8}
    moved = updates(7, 2000, **rates)
    assert len(moved["stable"]) / 2000 == pytest.approx(0.3, abs=0.04)
    assert len(moved["plastic"]) / 2000 == pytest.approx(0.8, abs=0.04)
    both = len(set(moved["stable"]) & set(moved["plastic"]))
    assert both / 2000 == pytest.approx(0.24, abs=0.04)  # drawn apart from each other
    assert moved == updates(7, 2000, **rates) != updates(8, 2000, **rates)


def test_an_average_that_always_moves_follows_the_formula(tmp_path):
    model = nn.Linear(1, 1, bias=False)
    always = {"stable_rate": 1.0, "plastic_rate": 1.0, "stable_decay": 0.9, "plastic_decay": 0.5}
    method = begun(model, None, None, **always)
    stable = plastic = model.weight.item()
    for step in range(30):
        with torch.no_grad():
            model.weight += 1
        method.after_update(model, step)
        slow, fast = min(0.9, 1 - 1 / (step + 1)), min(0.5, 1 - 1 / (step + 1))
        stable = slow * stable + (1 - slow) * model.weight.item()
        plastic = fast * plastic + (1 - fast) * model.weight.item()
    assert float(method.stable["weight"]) == pytest.approx(stable, rel=1e-5)
    assert float(method.plastic["weight"]) == pytest.approx(plastic, rel=1e-5)


def test_a_later_slice_does_not_overwrite_what_was_averaged(tmp_path):
    model = nn.Linear(1, 1, bias=False)
    method = begun(model, None, None, stable_rate=1.0, plastic_rate=1.0, stable_decay=0.9, plastic_decay=0.5)
    method.seen = Seen(slices=1)
    before = model.weight.item()
    with torch.no_grad():
        model.weight += 1
    method.after_update(model, 0)
    assert float(method.stable["weight"]) == pytest.approx(before + 0.1, rel=1e-5)


def test_the_stable_model_is_kept(tiny, tmp_path):
    model, tokenizer = tiny
    method = begun(model, tokenizer, tmp_path)
    disturb(method.stable, 0.1, seed=1)
    disturb(method.plastic, 0.1, seed=2)
    assert method.end(model, None, tmp_path / "method") is model
    assert all(torch.equal(value, method.stable[name]) for name, value in model.named_parameters())


def test_a_killed_run_ends_with_the_same_stable_model(rows, tmp_path):
    def run(scratch, killed_at=None):
        model, tokenizer = build(SETTINGS, [f"{row['prompt']} {row['target']}" for row in rows], seed=1)
        method = begun(model, tokenizer, tmp_path)

        def log(step, values):
            if step == killed_at:
                raise KeyboardInterrupt

        parts = [Part(encode(rows[:4], tokenizer, 64), 0.5), Part(encode(rows[4:], tokenizer, 64), 0.5)]
        data = Mixture(parts, 128, 8, 0, model.device)
        train(model, data, Schedule(8, 1e-2, 0.1, 3), methods=[method], scratch=scratch, log=log, seed=0)
        method.end(model, data, tmp_path / "method")
        return torch.cat([value.detach().flatten() for value in model.parameters()])

    whole = run(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", killed_at=5)
    assert torch.equal(run(tmp_path / "b"), whole)


def test_bfloat16_weights_get_averages_in_float32_and_keep_their_type(tiny, rows, tmp_path):
    model, tokenizer = tiny
    model.bfloat16()
    method = begun(model, tokenizer, tmp_path)
    assert {value.dtype for value in method.state().values()} == {torch.float32}
    batch = mixed_batch(rows, tokenizer, model.device)
    logits = answer_logits(model, batch)
    assert torch.equal(logits_by(method.stable, model, batch), logits)  # by the same arithmetic
    assert method.penalty(model, batch, logits).dtype == torch.float32
    method.end(model, None, tmp_path)
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}


def test_a_plastic_model_that_is_slower_than_the_stable_one_is_refused():
    with pytest.raises(ValidationError, match="must not be slower"):
        ClsErSettings(name="cls_er", stable_decay=0.9, plastic_decay=0.99)
    with pytest.raises(ValidationError, match="must not be slower"):
        ClsErSettings(name="cls_er", stable_rate=0.9, plastic_rate=0.5)
