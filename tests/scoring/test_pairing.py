"""Two models on the rows that both were asked, and how sure a share or a difference is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tasks.scoring.outcomes import is_clean, is_reworded
from tasks.scoring.pairing import bootstrap_bounds, differences, paired
from tasks.scoring.proportions import clopper_pearson

ROWS = st.sampled_from(
    [f"20{year}/{fact}/{language}/{kind}#1" for year in (20, 21) for fact in (1, 2, 12) for language in ("en", "ko")
     for kind in ("seen", "paraphrase", "everyday")]
    + [f"2021/examples/{line}#1" for line in (1, 2)] + ["2020/chat/1#1", "2020/1/en/seen#2"]
)  # fmt: skip
MODELS = st.dictionaries(ROWS, st.booleans())


@given(one=MODELS, other=MODELS)
def test_the_paired_difference_is_the_one_counted_by_hand(one, other):
    facts = {}
    for row in set(one) & set(other):
        slice_name, second, *rest = row.partition("#")[0].split("/")
        if second != "chat" and (not rest or rest[-1] != "everyday"):
            fact = row if second == "examples" else (slice_name, second)
            facts.setdefault(fact, []).append((one[row] is True) - (other[row] is True))
    by_hand = [sum(each) / len(each) for each in facts.values()]
    assert sorted(differences(one, other, is_clean).values()) == pytest.approx(sorted(by_hand))
    found = paired(one, other, is_clean, 0.95)
    assert found.facts == len(by_hand)
    if by_hand:
        assert found.difference == pytest.approx(sum(by_hand) / len(by_hand))
        assert found.lower <= found.upper


def test_a_row_that_was_edited_is_another_row():
    one, other = {"2020/1/en/seen#aa": True}, {"2020/1/en/seen#bb": False}
    assert paired(one, other, is_clean, 0.95).facts == 0


def test_reworded_rows_are_paraphrases_and_a_users_own_tests():
    rows = ["2020/1/en/seen#1", "2020/1/en/paraphrase#1", "2020/1/en/everyday#1", "2020/examples/3#1", "2020/chat/3#1"]
    assert [row for row in rows if is_clean(row)] == [rows[0], rows[1], rows[3]]
    assert [row for row in rows if is_reworded(row)] == [rows[1], rows[3]]


@pytest.mark.parametrize("facts", [20, 60, 300])
def test_the_bootstraps_bounds_are_those_of_an_independent_one(facts):
    chance = np.random.default_rng(facts)
    values = chance.choice([-1, -0.5, -0.25, 0, 0.25], size=facts, p=[0.05, 0.05, 0.1, 0.7, 0.1])
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, confidence_level=0.9, method="percentile", rng=1)
    ours = bootstrap_bounds(values, 0.95)
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.12 / np.sqrt(facts))
    assert ours == bootstrap_bounds(list(reversed(values)), 0.95)  # the same at every call, in whatever order


def test_the_bootstraps_lower_bound_covers_the_truth_about_as_often_as_it_says():
    chance = np.random.default_rng(1)
    truth, covered = -0.05, 0
    for _ in range(300):
        values = chance.choice([-1, 0, 1], size=200, p=[0.08, 0.89, 0.03])
        covered += bootstrap_bounds(values, 0.95)[0] <= truth
    assert 0.91 <= covered / 300 <= 0.99


def test_between_models_that_know_the_same_there_is_no_difference_and_no_doubt():
    rows = {f"2020/{fact}/en/seen#1": fact % 3 > 0 for fact in range(30)}
    found = paired(rows, rows, is_clean, 0.95)
    assert (found.facts, found.difference, found.lower, found.upper) == (30, 0, 0, 0)


@pytest.mark.parametrize(("right", "asked"), [(0, 1), (1, 1), (3, 5), (17, 20), (20, 20), (0, 20), (288, 300)])
def test_the_exact_bounds_are_scipys(right, asked):
    theirs = stats.binomtest(right, asked).proportion_ci(confidence_level=0.9, method="exact")
    assert clopper_pearson(right, asked, 0.95) == pytest.approx((theirs.low, theirs.high))


@given(asked=st.integers(1, 500), share=st.floats(0, 1))
def test_the_exact_bounds_hold_a_share_that_is_not_whole(asked, share):
    lower, upper = clopper_pearson(share * asked, asked, 0.95)
    assert 0 <= lower <= share + 1e-9 and share - 1e-9 <= upper <= 1
