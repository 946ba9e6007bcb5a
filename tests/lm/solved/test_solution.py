"""The solution against least squares that never saw the sums, and leaving out by leaving out."""

import numpy as np
import pytest
import torch

from tasks.lm.solved.features import LEVELS
from tasks.lm.solved.solution import SKETCH, Solution, solve
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


def kept(seen, aims):
    return solved(seen, aims).solution()


def unseen_by_hand(seen, features):
    gram = seen.double().T @ seen.double() + UNIT * torch.eye(WIDTH)
    inverse = torch.linalg.inv(gram)
    return UNIT * ((features.double() @ inverse) * features.double()).sum(-1) / features.double().square().sum(-1)


def exact(seen, aims):
    """A solution that is not rounded, and whose sketch is no sketch."""
    gram = seen.double().T @ seen.double() + UNIT * torch.eye(WIDTH)
    answers = torch.linalg.solve(gram, seen.double().T @ aims.double())
    return Solution(answers.float(), (UNIT**0.5 * torch.linalg.inv(torch.linalg.cholesky(gram))).float())


def test_it_is_the_ridge_regression_of_all_places_at_once(data):
    seen, aims = data
    rows = np.vstack([seen.numpy(), UNIT**0.5 * np.eye(WIDTH)])
    wanted = np.vstack([aims.numpy(), np.zeros((WIDTH, CODES))])
    by_numpy = np.linalg.lstsq(rows.astype(float), wanted, rcond=None)[0]
    found = kept(seen, aims).predicted(seen).numpy()
    assert np.abs(found - seen.numpy() @ by_numpy).max() < 0.03  # what is kept has eight bits


def test_what_is_reproduced_is_what_is_left_of_the_squares(data):
    seen, aims = data
    left = exact(seen, aims).predicted(seen) - aims
    share = 1 - float(left.square().sum() / aims.square().sum())
    assert kept(seen, aims).reproduced == pytest.approx(share, abs=1e-4) and share < 0.999
    again = torch.cat([aims, -aims])  # two answers to each question
    assert kept(seen.repeat(2, 1), again).reproduced == pytest.approx(0, abs=1e-6)


def test_the_rank_is_the_sum_of_what_the_ridge_leaves_of_each_direction(data):
    values = torch.linalg.eigvalsh(data[0].double().T @ data[0].double()).clamp(min=0)
    exact_rank = float((values / (values + UNIT)).sum())
    assert kept(*data).rank == pytest.approx(exact_rank, rel=0.05) and exact_rank < PLACES


def test_unseen_is_the_share_of_the_variance_that_is_left(data):
    seen, aims = data
    new = (32 * torch.randn(40, WIDTH, generator=torch.Generator().manual_seed(5))).relu().round()
    features = torch.cat([seen, new])
    by_hand = unseen_by_hand(seen, features)
    assert torch.allclose(exact(seen, aims).unseen(features).double(), by_hand, rtol=1e-3)
    ratio = kept(seen, aims).unseen(features).double() / by_hand
    assert abs(ratio.mean() - 1) < 3 * (2 / SKETCH) ** 0.5 and ratio.std() < 2 * (2 / SKETCH) ** 0.5
    assert by_hand[PLACES:].min() > 3 * by_hand[:PLACES].max()


def test_without_itself_a_place_is_as_if_it_had_never_been_learnt(data):
    seen, aims = data
    times = torch.tensor([1 + (place % 3 == 0) for place in range(PLACES)])
    again, meant = seen.repeat_interleave(times, 0), aims.repeat_interleave(times, 0)
    unseen, predicted = solved(again, meant).without(seen, aims, times)
    for place, one in enumerate(seen):
        others = ~(again == one).all(-1)
        assert unseen[place].item() == pytest.approx(float(unseen_by_hand(again[others], one.unsqueeze(0))), rel=0.01)
        gram = again[others].double().T @ again[others].double() + UNIT * torch.eye(WIDTH)
        alone = one.double() @ torch.linalg.solve(gram, again[others].double().T @ meant[others].double())
        assert (predicted[place] - alone).abs().max() < 1e-3


def test_the_voice_is_half_at_half_and_falls_fast(data):
    solution = kept(*data)
    for unseen, voice in ((0.5, 1.0), (1.0, 0.5), (2.0, 0.0)):
        solution.half = float(solution.unseen(data[0][:1])) / unseen
        assert solution.voice(solution.unseen(data[0][:1])).item() == pytest.approx(voice, abs=0.01)
