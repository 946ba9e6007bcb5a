import pytest
import torch

from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.causal import build
from tasks.lm.methods.ema import EMA
from tasks.lm.training import Schedule, train
from tasks.method_params import EMA as EMASettings
from tests.lm.conftest import SETTINGS


def test_the_average_is_that_of_the_formula(tiny, tmp_path):
    """Written out as a sum: what a weight of step s counts is (1 - d_s) times all later d."""
    model, tokenizer = tiny
    method = EMA(EMASettings(name="ema", decay=0.7), seed=0)
    method.begin(model, tokenizer, tmp_path)
    values, decays = [model.lm_head.weight.detach().double().clone()], []
    for step in range(40):
        with torch.no_grad():
            model.lm_head.weight += 0.1 * torch.randn(model.lm_head.weight.shape)
        method.after_update(model, step)
        values.append(model.lm_head.weight.detach().double().clone())
        decays.append(min(0.7, (1 + step) / (10 + step)))
    counts = []
    for index in range(len(values)):
        count = 1.0 if index == 0 else 1 - decays[index - 1]
        for later in decays[index:]:
            count *= later
        counts.append(count)
    assert sum(counts) == pytest.approx(1)
    assert decays[0] == 0.1
    assert decays[-1] == 0.7
    expected = sum(count * value for count, value in zip(counts, values, strict=True))
    assert method.end(model, None, tmp_path / "method") is model
    torch.testing.assert_close(model.lm_head.weight.detach().double(), expected, rtol=1e-5, atol=1e-6)


def test_its_state_is_live(tiny, tmp_path):
    model, tokenizer = tiny
    method = EMA(EMASettings(name="ema"), seed=0)
    method.begin(model, tokenizer, tmp_path)
    state = method.state()
    with torch.no_grad():
        model.lm_head.weight += 1
    before = state["lm_head.weight"].clone()
    method.after_update(model, 5)
    assert not torch.equal(state["lm_head.weight"], before)
    state["lm_head.weight"].fill_(7.0)  # as a checkpoint puts it back
    method.end(model, None, tmp_path)
    assert (model.lm_head.weight == 7.0).all()


def test_a_killed_run_ends_with_the_same_average(rows, tmp_path):
    def run(scratch, killed_at=None):
        model, tokenizer = build(SETTINGS, [f"{row['prompt']} {row['target']}" for row in rows], seed=1)
        method = EMA(EMASettings(name="ema"), seed=0)
        method.begin(model, tokenizer, tmp_path)

        def log(step, values):
            if step == killed_at:
                raise KeyboardInterrupt

        data = Mixture([Part(encode(rows, tokenizer, 64), 1.0)], 96, 6, 0, model.device)
        train(model, data, Schedule(6, 1e-2, 0.1, 2), methods=[method], scratch=scratch, log=log, seed=0)
        last = model.lm_head.weight.detach().clone()
        method.end(model, data, tmp_path / "method")
        return model.lm_head.weight.detach(), last

    whole, last = run(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", killed_at=5)
    again, _ = run(tmp_path / "b")
    assert torch.equal(whole, again)
    assert not torch.equal(whole, last)


def test_an_average_of_bfloat16_weights_moves_by_less_than_they_can_tell(tiny, tmp_path):
    model, tokenizer = tiny
    model.bfloat16()
    with torch.no_grad():
        model.lm_head.weight.fill_(1.0)
    method = EMA(EMASettings(name="ema", decay=0.999), seed=0)
    method.begin(model, tokenizer, tmp_path)
    with torch.no_grad():
        model.lm_head.weight.fill_(1.5)
    for step in range(100_000, 100_700):
        method.after_update(model, step)
    method.end(model, None, tmp_path)
    assert model.lm_head.weight.dtype == torch.bfloat16
    expected = 1.5 - 0.5 * 0.999**700
    assert model.lm_head.weight[0, 0].item() == pytest.approx(expected, rel=2**-8)
    assert expected > 1.2
