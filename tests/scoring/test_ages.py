"""How fast a model's language ages: which texts are looked at, and the curve, against a sum by hand."""

import math

import pytest

from tasks.corpus.slices import history
from tasks.scoring.ages import curve, months_of, own_texts
from tests.every_step import TEXTS, chained_examples, facts

YEARS = ["2020", "2021", "2023"]
PERPLEXITY = [[10.0, 24.0, 90.0], [11.0, 12.0, 40.0], [None, 15.0, 20.0]]


def test_the_curve_is_the_geometric_mean_over_the_texts_own_models():
    assert [each["ahead"] for each in curve(YEARS, PERPLEXITY)] == [12, 24, 36]
    one, two, three = (each["ratio"] for each in curve(YEARS, PERPLEXITY))
    assert (one, two, three) == pytest.approx((24 / 12, 40 / 20, 90 / 20))
    both = curve(["a", "b", "c"], PERPLEXITY)
    assert [(each["ahead"], each["pairs"]) for each in both] == [(1, 2), (2, 1)]
    assert both[0]["ratio"] == pytest.approx(math.exp((math.log(24 / 12) + math.log(40 / 20)) / 2))


def test_a_slice_without_texts_is_left_out():
    without = [[10.0, None, 90.0], [11.0, None, 40.0], [9.0, None, 20.0]]
    assert curve(YEARS, without) == [
        {"ahead": 24, "ratio": pytest.approx(2.0), "pairs": 1},
        {"ahead": 36, "ratio": pytest.approx(4.5), "pairs": 1},
    ]
    assert curve(YEARS[:1], [[10.0]]) == []


@pytest.mark.parametrize(
    ("name", "month"), [("2020", 24240), ("2020-01", 24240), ("2021-03", 24254), ("2020-13", None), ("one", None)]
)
def test_a_slices_name_is_a_month_or_none(name, month):
    assert months_of(name) == month


def test_only_texts_that_no_slice_is_trained_on_are_looked_at(tmp_path):
    slices = {"one": facts(("Peru", "Lima"), ("Chile", "Santiago")) | TEXTS, "two": facts(("Nepal", "Kathmandu"))}
    known = history(chained_examples(tmp_path, slices) / "two")
    trained = {row["target"] for each in known for row in each.train}
    found = own_texts(known)
    assert list(found) == ["one", "two"] and any("A note of day" in row["target"] for row in found["one"])
    assert all(row["target"] not in trained for rows in found.values() for row in rows)
