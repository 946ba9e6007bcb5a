import math

import pytest
import torch
from torch import nn

from tasks.lm.methods.recadam import RecAdam
from tasks.lm.methods.seen import Seen
from tasks.lm.training import BETAS, WEIGHT_DECAY
from tasks.method_params import RecAdam as RecAdamSettings

STEPS = 40
SETTINGS = RecAdamSettings(name="recadam", gamma=30.0, k=12.0, t0=0.4)


class Tiny(nn.Module):
    def __init__(self, start):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(start))


def method_after_a_slice(model, folder, settings=SETTINGS):
    method = RecAdam(settings, seed=0)
    method.steps, method.seen = STEPS, Seen(slices=1)
    method.begin(model, None, folder)
    return method


def gradient(theta, step):
    """Of some curved loss that changes from step to step."""
    return [3 * (value - 1.5) + math.sin(step + index) for index, value in enumerate(theta)]


def rate_of(step):
    return 1e-2 * (1 - step / STEPS)


def by_the_loop(model, method):
    """As tasks/lm/training.py does it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=BETAS, weight_decay=WEIGHT_DECAY)
    path = []
    for step in range(STEPS):
        model.theta.grad = torch.tensor(gradient(model.theta.tolist(), step))
        optimizer.param_groups[0]["lr"] = method.before_update(model, step, rate_of(step))
        optimizer.step()
        path.append(model.theta.tolist())
    return path


def written_out(start, settings):
    """RecAdam with AdamW's decoupled weight decay, number by number, from the formulas."""
    theta, anchor = list(start), list(start)
    first, second = [0.0] * len(start), [0.0] * len(start)
    path = []
    for step in range(STEPS):
        done = step + 1
        rate = rate_of(step)
        learn = 1 / (1 + math.exp(-settings.k * (done / STEPS - settings.t0)))
        for index, slope in enumerate(gradient(theta, step)):
            first[index] = BETAS[0] * first[index] + (1 - BETAS[0]) * slope
            second[index] = BETAS[1] * second[index] + (1 - BETAS[1]) * slope**2
            mean, square = first[index] / (1 - BETAS[0] ** done), second[index] / (1 - BETAS[1] ** done)
            adam = mean / (math.sqrt(square) + 1e-8)
            pulled = theta[index] - rate * (1 - learn) * settings.gamma * (theta[index] - anchor[index])
            theta[index] = pulled * (1 - rate * learn * WEIGHT_DECAY) - rate * learn * adam
        path.append(list(theta))
    return path


def test_the_whole_trajectory_is_that_of_recadam(tmp_path):
    start = [0.3, -0.7, 2.0]
    model = Tiny(start)
    path = by_the_loop(model, method_after_a_slice(model, tmp_path))
    expected = written_out(start, SETTINGS)
    torch.testing.assert_close(torch.tensor(path), torch.tensor(expected), rtol=2e-5, atol=2e-6)
    without_pull = written_out(start, SETTINGS.model_copy(update={"gamma": 0.0}))
    assert abs(without_pull[-1][0] - expected[-1][0]) > 1e-3  # the pull matters here


def test_it_recalls_first_and_learns_later(tmp_path):
    model = Tiny([1.0])
    method = method_after_a_slice(model, tmp_path)
    rates = [method.before_update(model, step, 1.0) for step in range(STEPS)]
    assert rates == sorted(rates)
    assert rates[0] < 0.02
    assert rates[-1] > 0.99
    assert rates[round(0.4 * STEPS) - 1] == pytest.approx(0.5)


def test_a_strong_pull_goes_back_and_not_beyond(tmp_path):
    model = Tiny([1.0])
    method = method_after_a_slice(model, tmp_path, RecAdamSettings(name="recadam", gamma=1e9, k=1e9, t0=1.0))
    with torch.no_grad():
        model.theta += 5
    assert method.before_update(model, 0, 1e-3) == 0.0
    assert model.theta.tolist() == [1.0]


def test_the_slice_from_the_base_learns_at_the_full_rate(tmp_path):
    model = Tiny([1.0])
    method = RecAdam(SETTINGS, seed=0)
    method.steps = STEPS
    method.begin(model, None, tmp_path)
    assert method.before_update(model, 0, 1e-3) == 1e-3
    assert model.theta.tolist() == [1.0]


def test_bfloat16_weights_keep_their_type_and_their_type_only_rounds(tmp_path):
    model = Tiny([1.0, -3.0]).bfloat16()
    method = method_after_a_slice(model, tmp_path, RecAdamSettings(name="recadam", gamma=30.0, k=1e9, t0=1.0))
    with torch.no_grad():
        model.theta += 1
    method.before_update(model, 0, 1e-2)
    assert model.theta.dtype == torch.bfloat16
    torch.testing.assert_close(model.theta.float(), torch.tensor([1.7, -2.3]), rtol=2**-8, atol=0)
