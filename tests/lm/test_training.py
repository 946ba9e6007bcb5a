import json

import pytest
import torch
from torch import nn

from tasks.errors import BadInput
from tasks.lm.batches import Mixture, Part, collate, encode
from tasks.lm.causal import build, save
from tasks.lm.checkpoint import save_checkpoint
from tasks.lm.logits import answer_logits
from tasks.lm.methods.method import Method
from tasks.lm.training import Diverged, EarlyStop, Schedule, train
from tests.lm.conftest import SETTINGS

SCHEDULE = Schedule(steps=12, learning_rate=1e-2, warmup=0.1, checkpoint_every=4)


def quiet(step, values):
    pass


def fresh_model(rows, dropout=0.0, steps=SCHEDULE.steps):
    model, tokenizer = build(SETTINGS, [f"{row['prompt']} {row['target']}" for row in rows], seed=1)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    data = Mixture([Part(encode(rows, tokenizer, 64), 1.0)], 96, steps, 3, model.device)
    return model, tokenizer, data


def weights(model):
    return torch.cat([value.detach().flatten() for value in model.parameters()])


def test_the_loss_is_the_cross_entropy_of_the_shifted_answer_tokens(tiny, rows):
    model, tokenizer = tiny
    sequences = encode(rows[:3], tokenizer, 64)
    batch = collate(sequences, model.device)
    expected = []
    for sequence in sequences:  # brute force: one token after the other
        for place in range(sequence.start, len(sequence.ids)):
            logits = model(torch.tensor([sequence.ids[:place]])).logits[0, -1]
            expected.append(-logits.log_softmax(-1)[sequence.ids[place]])
    loss = nn.functional.cross_entropy(answer_logits(model, batch), batch.labels)
    torch.testing.assert_close(loss, torch.stack(expected).mean())


def test_a_model_learns_its_rows(rows, tmp_path):
    model, _, data = fresh_model(rows, steps=60)
    history = train(model, data, Schedule(60, 1e-2, 0.1), scratch=tmp_path, log=quiet, seed=0)
    assert history[-1]["loss"] < history[0]["loss"] / 4


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("killed_at", range(1, 12))
def test_a_killed_run_ends_with_the_same_bytes(rows, tmp_path, killed_at, dropout):
    whole, _, data = fresh_model(rows, dropout)
    expected_history = train(whole, data, SCHEDULE, scratch=tmp_path / "a", log=quiet, seed=0)

    def die(step, values):
        if step == killed_at:
            raise KeyboardInterrupt

    first, _, data = fresh_model(rows, dropout)
    with pytest.raises(KeyboardInterrupt):
        train(first, data, SCHEDULE, scratch=tmp_path / "b", log=die, seed=0)
    torch.manual_seed(99)  # another process has another random state
    again, _, data = fresh_model(rows, dropout)
    history = train(again, data, SCHEDULE, scratch=tmp_path / "b", log=quiet, seed=0)
    assert torch.equal(weights(again), weights(whole))
    assert json.dumps(history) == json.dumps(expected_history)  # the log's bytes, too


def test_a_rotten_checkpoint_is_passed_over(rows, tmp_path):
    whole, _, data = fresh_model(rows)
    train(whole, data, SCHEDULE, scratch=tmp_path / "a", log=quiet, seed=0)
    broken, _, _ = fresh_model(rows)
    optimizer = torch.optim.AdamW(broken.parameters())
    save_checkpoint(tmp_path / "b", 8, dict(broken.named_parameters()), {}, optimizer, [])
    state = tmp_path / "b" / "step-00000008" / "state.safetensors"
    content = bytearray(state.read_bytes())
    content[-1] ^= 1
    state.write_bytes(content)
    again, _, data = fresh_model(rows)
    train(again, data, SCHEDULE, scratch=tmp_path / "b", log=quiet, seed=0)
    assert torch.equal(weights(again), weights(whole))


class NoNumber(Method):
    def penalty(self, model, batch, logits):
        return float("nan")


def test_a_loss_that_is_no_number_ends_the_run_before_the_weights_change(rows, tmp_path):
    model, _, data = fresh_model(rows)
    before = weights(model).clone()
    with pytest.raises(Diverged, match="step 1"):
        train(model, data, SCHEDULE, methods=[NoNumber()], scratch=tmp_path, log=quiet, seed=0)
    assert torch.equal(weights(model), before)


def test_nothing_to_train_on_is_the_users_mistake(tiny, tmp_path):
    model, _ = tiny
    with pytest.raises(BadInput, match="nothing to train on"):
        train(model, Mixture([], 96, 1, 0, model.device), SCHEDULE, scratch=tmp_path, log=quiet, seed=0)


def test_the_rate_rises_then_falls_to_nearly_nothing():
    rates = [Schedule(100, 1e-3, 0.1).rate(step) for step in range(100)]
    assert max(rates) == 1e-3
    assert rates.index(max(rates)) in (9, 10)
    assert rates[0] < 2e-4
    assert rates[-1] < 2e-5


def test_the_same_seed_gives_the_same_files(rows, tmp_path):
    for name in ("a", "b"):
        model, tokenizer, data = fresh_model(rows)
        train(model, data, SCHEDULE, scratch=tmp_path / f"{name}-scratch", log=quiet, seed=0)
        save(model, tokenizer, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert "model.safetensors" in files
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


class Moving(Method):
    """Keeps a tensor that changes at every step, and lets it act on the weights."""

    def begin(self, model, tokenizer, previous):
        self.kept = torch.zeros(1)
        return model

    def state(self):
        return {"kept": self.kept}

    def before_update(self, model, step, rate):
        return rate * (1 + float(self.kept))

    def after_update(self, model, step):
        self.kept += 0.1 * (step + 1)


def test_what_a_method_keeps_while_training_survives_a_kill(rows, tmp_path):
    def trained(scratch, log):
        model, tokenizer, data = fresh_model(rows)
        method = Moving()
        method.begin(model, tokenizer, tmp_path)
        return model, train(model, data, SCHEDULE, methods=[method], scratch=scratch, log=log, seed=0)

    def die(step, values):
        if step == 7:
            raise KeyboardInterrupt

    whole, history = trained(tmp_path / "a", quiet)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "b", die)
    again, repeated = trained(tmp_path / "b", quiet)
    assert history[-1]["learning_rate"] > SCHEDULE.rate(11)  # it did act
    assert torch.equal(weights(again), weights(whole))
    assert repeated == history


def held_out(model, tokenizer, rows):
    return [collate(encode(rows, tokenizer, 64), model.device)]


def stopped(rows, scratch, log, patience, target="Nobody at all"):
    """Trains on rows while the held-out ones say something else, so that they get worse and worse."""
    model, tokenizer, data = fresh_model(rows, steps=40)
    other = [{**row, "target": target} for row in rows[:3]]
    stop = EarlyStop(held_out(model, tokenizer, other), every=2, patience=patience)
    schedule = Schedule(40, 1e-2, 0.1, checkpoint_every=3)
    return model, train(model, data, schedule, stop=stop, scratch=scratch, log=log, seed=0), stop


def test_training_stops_when_the_held_out_loss_no_longer_falls_and_the_best_weights_are_kept(rows, tmp_path):
    model, history, stop = stopped(rows, tmp_path / "a", quiet, patience=3)
    looks = [row["held_out_loss"] for row in history if "held_out_loss" in row]
    best = looks.index(min(looks))
    assert len(history) < 40
    assert len(looks) == best + 1 + 3
    batch = stop.held_out[0]
    loss = nn.functional.cross_entropy(answer_logits(model, batch), batch.labels)
    assert loss.item() == pytest.approx(min(looks), rel=1e-4)
    assert loss.item() < looks[-1]


def test_an_early_stop_survives_a_kill(rows, tmp_path):
    whole, history, _ = stopped(rows, tmp_path / "a", quiet, patience=3)

    def die(step, values):
        if step == len(history) - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped(rows, tmp_path / "b", die, patience=3)
    again, repeated, _ = stopped(rows, tmp_path / "b", quiet, patience=3)
    assert repeated == history
    assert torch.equal(weights(again), weights(whole))


def test_patience_that_is_not_used_up_changes_no_step(rows, tmp_path):
    _, history, _ = stopped(rows, tmp_path / "a", quiet, patience=100)
    assert len(history) == 40
