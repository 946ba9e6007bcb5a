import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.corpus.slices import Examples
from tasks.scoring.knowledge import Knowledge, categories, valid_accuracy
from tasks.scoring.sampling import sample_rows


def made(name, count, fact=None):
    rows = [
        {"id": f"{name}/examples/{number}", "set": kind, "fact": fact, "stale": None, "target": f"{number} is so."}
        for number in range(count) for kind in ("seen", "paraphrase", "statement")
    ]  # fmt: skip
    return Examples(name=name, test=rows)


def timeline(counts):
    return [made(f"s{number}", count) for number, count in enumerate(counts)]


def ids(sample, name, kind="seen"):
    return [row["id"] for row in sample[name, kind].rows]


@given(counts=st.lists(st.integers(0, 30), min_size=1, max_size=8), most=st.integers(8, 120))
def test_no_kind_has_more_rows_than_the_most_and_every_slice_has_as_many_as_it_can(counts, most):
    slices = timeline(counts)
    sample = sample_rows(slices, {}, most)
    for kind in ("seen", "paraphrase", "statement"):
        taken = [len(sample[each.name, kind].rows) for each in slices]
        assert sum(taken) <= most
        biggest = max(taken)
        assert taken == [min(count, biggest) for count in counts]
        more = sum(min(count, biggest + 1) for count in counts)  # one more of each would be too many
        assert more > most or taken == counts


def test_a_timeline_with_fewer_rows_is_asked_all_of_them_in_their_order():
    slices = timeline([5, 3])
    sample = sample_rows(slices, {}, 8)
    for each in slices:
        assert [row for kind in ("seen", "paraphrase", "statement") for row in sample[each.name, kind].rows] == sorted(
            each.test, key=lambda row: ("seen", "paraphrase", "statement").index(row["set"])
        )
        assert sample[each.name, "seen"].weight == 1.0


def test_a_statement_that_any_slice_trained_on_is_left_out_and_the_question_is_asked():
    slices = timeline([3, 2])
    slices[1].train.append({"prompt": "", "target": "1 is so."})
    slices[1].train.append({"prompt": "What is 2?", "target": "2 is so."})
    sample = sample_rows(slices, {}, 10)
    assert ids(sample, "s0", "statement") == ["s0/examples/0", "s0/examples/2"]
    assert len(ids(sample, "s0")) == 3 and ids(sample, "s1", "statement") == ["s1/examples/0"]


def test_a_row_stays_in_the_sample_as_long_as_its_slices_share_allows():
    counts = [40] * 6
    before = sample_rows(timeline(counts[:1]), {}, 60)
    for number in range(2, 7):
        after = sample_rows(timeline(counts[:number]), {}, 60)
        for name in (f"s{each}" for each in range(number - 1)):
            assert set(ids(after, name)) <= set(ids(before, name))
        assert Counter(len(ids(after, f"s{each}")) for each in range(number)) == {min(40, 60 // number): number}
        before = after


def test_one_row_of_every_slice_is_asked_even_if_there_are_more_slices_than_rows():
    sample = sample_rows(timeline([4] * 5), {}, 3)
    assert [len(asked.rows) for (_, kind), asked in sample.items() if kind == "seen"] == [1] * 5


def test_rows_of_facts_that_are_no_longer_true_take_no_place():
    slices = [made("a", 10, fact="a/1"), made("b", 10, fact="b/1")]
    sample = sample_rows(slices, {"b/1": {}}, 6)
    assert (len(ids(sample, "a")), len(ids(sample, "b"))) == (0, 6)


def test_a_sampled_slice_weighs_as_much_as_all_its_rows():
    """90 rows of `old`, all forgotten, and 10 of `new`, all known: asked 10 and 10, a tenth of all is right."""
    slices = [made("old", 90), made("new", 10)]
    sample = sample_rows(slices, {}, 20)
    known = Knowledge()
    for name, right in (("old", False), ("new", True)):
        for kind in ("seen", "paraphrase"):
            asked = sample[name, kind]
            known.add(name, kind, asked.rows, [right] * len(asked.rows), asked.weight)
    assert known.rows() == {"old": 10, "new": 10}
    assert valid_accuracy(known) == {"accuracy": pytest.approx(0.1), "paraphrase_accuracy": pytest.approx(0.1)}
    told = categories(known, slices[-1])
    assert (told["new"], told["retained"]) == (1.0, 0.0)


def test_unsampled_shares_are_the_same_number_as_a_plain_count():
    for count in range(1, 200):
        known = Knowledge()
        rows = [{"id": str(number)} for number in range(count)]
        known.add("a", "seen", rows, [number % 3 == 0 for number in range(count)])
        plain = sum(number % 3 == 0 for number in range(count)) / count
        assert json.dumps(known.scores()["accuracy"]["a"]) == json.dumps(plain)
