import pytest
import torch

from tasks.scoring.familiarity import risk_by_coverage, told_apart


def test_auroc_is_the_share_of_pairs_in_the_right_order():
    random = torch.Generator().manual_seed(1)
    known, unknown = torch.rand(37, generator=random), torch.rand(23, generator=random) + 0.4
    unknown[0] = known[0]  # a tie is half a pair
    pairs = (known[:, None] < unknown[None]).float() + 0.5 * (known[:, None] == unknown[None]).float()
    found = told_apart(known - 0.985, unknown - 0.985)
    assert found["auroc"] == pytest.approx(float(pairs.mean()), abs=1e-6)
    assert (found["known"], found["unknown"]) == (37, 23)


def test_what_is_refused_costs_two_in_a_hundred_known_ones():
    known, unknown = torch.arange(100) / 100, torch.tensor([0.5, 0.96, 0.975, 0.99, 2.0])
    assert told_apart(known - 0.985, unknown - 0.985)["refused"] == pytest.approx(3 / 5)  # above 0.9702


def test_what_the_models_own_limit_refuses_is_told_of_both():
    found = told_apart(torch.arange(100) / 100 - 0.985, torch.tensor([0.5, 0.98, 0.99, 2.0]) - 0.985)
    assert (found["known_refused"], found["unknown_refused"]) == (pytest.approx(0.01), pytest.approx(0.5))


def test_risk_is_that_of_the_questions_answered_first():
    doubt = torch.tensor([0.4, 0.1, 0.3, 0.2])
    assert risk_by_coverage(doubt, [False, True, False, True]) == [
        (0.25, 0.0), (0.5, 0.0), (0.75, pytest.approx(1 / 3)), (1.0, 0.5),
    ]  # fmt: skip
