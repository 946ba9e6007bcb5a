"""The solution against least squares that never saw the sums, and leaving out by leaving out."""

import numpy as np
import pytest
import torch

from tasks.lm.solved.features import LEVELS
from tasks.lm.solved.solution import LOST, SKETCH, SLACK, Solution, solve
from tasks.lm.solved.sums import Sums

WIDTH, CODES, PLACES, RIDGE = 128, 64, 90, 0.01
UNIT = RIDGE * LEVELS**2 * WIDTH


@pytest.fixture(scope="module")
def data():
    random = torch.Generator().manual_seed(2)
    seen = (32 * torch.randn(PLACES, WIDTH, generator=random)).relu().round().clamp(max=127)
    return seen, torch.randint(-3, 4, (PLACES, CODES), generator=random).float()


def solved(seen, aims):
    sums = Sums.empty(WIDTH, CODES, 10)
    sums.add(seen, aims, torch.zeros(10))
    return solve(sums, RIDGE)


def unseen_by_hand(seen, features):
    gram = seen.double().T @ seen.double() + UNIT * torch.eye(WIDTH)
    inverse = torch.linalg.inv(gram)
    return UNIT * ((features.double() @ inverse) * features.double()).sum(-1) / features.double().square().sum(-1)


def exact(seen, aims):
    """A solution whose sketch is no sketch."""
    factor = torch.linalg.cholesky(seen.double().T @ seen.double() + UNIT * torch.eye(WIDTH))
    return Solution(solved(seen, aims).answers, (UNIT**0.5 * torch.linalg.inv(factor)).float())


def test_it_is_the_ridge_regression_of_all_places_at_once(data):
    seen, aims = data
    rows = np.vstack([seen.numpy(), UNIT**0.5 * np.eye(WIDTH)])
    wanted = np.vstack([aims.numpy(), np.zeros((WIDTH, CODES))])
    by_numpy = np.linalg.lstsq(rows.astype(float), wanted, rcond=None)[0]
    found = solved(seen, aims).predicted(seen).numpy()
    assert np.abs(found - seen.numpy() @ by_numpy).max() < 0.03  # what is kept has eight bits


def test_unseen_is_the_share_of_the_variance_that_is_left(data):
    seen, aims = data
    new = (32 * torch.randn(40, WIDTH, generator=torch.Generator().manual_seed(5))).relu().round()
    features = torch.cat([seen, new])
    by_hand = unseen_by_hand(seen, features)
    assert torch.allclose(exact(seen, aims).unseen(features).double(), by_hand, rtol=1e-3)
    ratio = solved(seen, aims).unseen(features).double() / by_hand
    assert abs(ratio.mean() - 1) < 3 * (2 / SKETCH) ** 0.5 and ratio.std() < 2 * (2 / SKETCH) ** 0.5
    assert by_hand[PLACES:].min() > 3 * by_hand[:PLACES].max()


def test_the_voice_is_set_by_places_that_are_left_out(data):
    seen, aims = data
    times = torch.tensor([1 + (place % 3 == 0) for place in range(PLACES)])
    again = seen.repeat_interleave(times, 0)
    solution = exact(again, aims.repeat_interleave(times, 0)).calibrated(seen, times, RIDGE)
    left_out = [unseen_by_hand(again[~(again == one).all(-1)], one.unsqueeze(0))[0] for one in seen]
    assert solution.half == pytest.approx(SLACK * float(torch.stack(left_out).quantile(1 - LOST)), rel=0.01)
    at_half = torch.tensor([solution.half])
    solution.unseen = lambda features: at_half
    assert solution.voice(seen[:1]).item() == pytest.approx(0.5)
