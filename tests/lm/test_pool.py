import math
from collections import Counter
from pathlib import Path

import pytest

from tasks.corpus.slices import load_examples, slice_of
from tasks.dataset import dataset
from tasks.lm.pool import pooled
from tasks.origin import origin
from tasks.params import load_params


def row(identity, fact=None, target="x"):
    return {"id": identity, "kind": "question", "prompt": "?", "target": target, "fact": fact}


def slice_rows(name, facts, wordings=5, languages=("en", "ko")):
    return [
        row(f"{name}/{fact}/{language}/question{number}", f"{name}/{fact}")
        for fact in range(facts)
        for language in languages
        for number in range(wordings)
    ]


def identities(rows):
    return [each["id"] for each in rows]


def after(slices, capacity, choose, seed):
    pool = []
    for rows in slices:
        pool = pooled(pool, rows, capacity, choose, seed)
    return pool


def test_a_reservoir_holds_every_row_that_was_ever_seen_with_the_same_probability():
    slices = [[row(f"{name}/{number}") for number in range(size)] for name, size in (("a", 20), ("b", 10), ("c", 30))]
    seeds, capacity, seen = 3000, 12, 60
    drawn = Counter(each["id"] for seed in range(seeds) for each in after(slices, capacity, "reservoir", seed))
    expected = seeds * capacity / seen
    chi_square = sum((drawn[each["id"]] - expected) ** 2 for rows in slices for each in rows) / expected
    # without replacement the sum is (1 - capacity/seen) times a chi-square of 59 degrees of freedom
    scaled = chi_square / (1 - capacity / seen)
    assert abs(scaled - 59) < 4 * math.sqrt(2 * 59)


def test_a_reservoir_is_what_one_draw_from_all_rows_at_once_gives():
    slices = [slice_rows(name, 7) for name in "abc"]
    whole = [each for rows in slices for each in rows]
    assert after(slices, 31, "reservoir", 3) == pooled([], whole, 31, "reservoir", 3)


def test_a_cap_that_grows_with_the_rows_seen_keeps_a_uniform_share_of_each_slice():
    """A tenth of all rows: the old rows that were dropped are not missed."""
    first, second = slice_rows("a", 60), slice_rows("b", 30)
    pool = pooled(pooled([], first, 60, "reservoir", 5), second, 90, "reservoir", 5)
    at_once = pooled([], [*first, *second], 90, "reservoir", 5)
    assert len(set(identities(pool)) & set(identities(at_once))) >= 80
    assert 40 <= Counter(map(slice_of, pool))["a"] <= 80


def test_by_slice_keeps_as_many_rows_of_every_slice_however_large_it_was():
    pool = after([slice_rows("a", 50), slice_rows("b", 3), slice_rows("c", 20)], 30, "by_slice", 0)
    assert Counter(map(slice_of, pool)) == {"a": 10, "b": 10, "c": 10}


def test_what_a_small_slice_leaves_over_goes_to_the_others():
    pool = after([slice_rows("a", 50), [row("b/0"), row("b/1")], slice_rows("c", 20)], 30, "by_slice", 0)
    assert Counter(map(slice_of, pool)) == {"a": 14, "b": 2, "c": 14}


def test_balanced_keeps_as_many_rows_of_every_fact_and_language():
    slices = [slice_rows("a", 8), slice_rows("b", 4, wordings=2), slice_rows("c", 3, wordings=9)]
    pool = after(slices, 45, "balanced", 0)  # 30 classes
    classes = Counter(each["id"].rpartition("/")[0] for each in pool)
    assert set(classes.values()) == {1, 2}
    assert len(classes) == 30


def test_balanced_keeps_as_many_rows_of_every_label():
    rows = [row(f"a/{number}", target="rare" if number % 10 == 0 else "common") for number in range(100)]
    assert Counter(each["target"] for each in pooled([], rows, 12, "balanced", 1)) == {"rare": 6, "common": 6}


def test_a_class_that_has_no_place_is_drawn_evenly():
    rows = [row(f"a/{number}/en/question0", f"a/{number}") for number in range(20)]
    drawn = Counter(each["fact"] for seed in range(1000) for each in pooled([], rows, 5, "balanced", seed))
    assert all(abs(drawn[each["fact"]] - 250) < 5 * math.sqrt(1000 * 0.25 * 0.75) for each in rows)


@pytest.mark.parametrize("choose", ["reservoir", "by_slice", "balanced"])
def test_a_pool_never_grows_beyond_its_cap_and_is_ordered_by_id(choose):
    pool = []
    for name in "abcdefgh":
        pool = pooled(pool, slice_rows(name, 6), 40, choose, 2)
        assert len(pool) == 40
        assert identities(pool) == sorted(identities(pool))


@pytest.mark.parametrize("choose", ["reservoir", "by_slice", "balanced"])
def test_choosing_again_changes_nothing_and_another_order_gives_the_same_pool(choose):
    before, fresh = slice_rows("a", 9), slice_rows("b", 9)
    pool = pooled(before, fresh, 50, choose, 4)
    assert pooled(pool, [], 50, choose, 4) == pool
    assert pooled(before[::-1], fresh[::-1], 50, choose, 4) == pool
    assert pooled(before, fresh, 50, choose, 5) != pool


@pytest.mark.parametrize("choose", ["reservoir", "by_slice", "balanced"])
def test_a_pool_with_room_keeps_everything(choose):
    rows = slice_rows("a", 2)
    assert sorted(identities(pooled([], rows, 1000, choose, 0))) == sorted(identities(rows))


RAW = Path(__file__).parents[2] / "data" / "raw"


@pytest.fixture(scope="module")
def oldest_rows(tmp_path_factory):
    """The training rows of the default timeline's oldest slice."""
    root = tmp_path_factory.mktemp("pool")
    origin(RAW / "relations.yaml", root / "base")
    dataset(load_params().dataset, RAW / "2020", root / "base", root / "2020")
    return load_examples(root / "2020").train


def test_a_tenth_of_the_rows_is_not_a_tenth_of_the_facts(oldest_rows):
    """A fact stands in 13 to 17 rows of each language, so a pool that is balanced over them holds it all."""
    per_class = Counter(each["id"].rpartition("/")[0] for each in oldest_rows if each["fact"])
    assert (min(per_class.values()), max(per_class.values())) == (13, 17)
    facts = {each["fact"] for each in oldest_rows if each["fact"]}

    def held(share):
        pool = pooled([], oldest_rows, int(share * len(oldest_rows)), "balanced", 20)
        return len({each["fact"] for each in pool if each["fact"]}) / len(facts)

    assert held(0.1) == 1.0
    assert held(0.05) == pytest.approx(0.80, abs=0.04)
    assert held(0.02) == pytest.approx(0.36, abs=0.04)
