import pytest

from tasks import artifact
from tasks.lm.batches import encode
from tasks.lm.methods.method import Share
from tasks.lm.mixing import SLACK, encoded, write_older
from tasks.lm.shares import at_most, split_off


def rows_of(name, count, **given):
    return [
        {"id": f"{name}/{number}", "prompt": f"Who leads {number}?", "target": "Ada", "fact": None, **given}
        for number in range(count)
    ]


def test_of_older_rows_only_as_many_are_encoded_as_the_slices_steps_can_use(tiny):
    _, tokenizer = tiny
    fresh, tokens = rows_of("new", 20), 4000
    mean = sum(len(each.ids) for each in encode(fresh, tokenizer, 64)) / 20
    sizes = []
    for slices in (10, 40):  # the work for slice 40 is that for slice 10
        older = [row for number in range(slices) for row in rows_of(number, 100)]
        parts = encoded([Share(fresh, 0.4), Share(older, 0.6)], tokenizer, 64, tokens, seed=0)
        sizes.append(len(parts[1].sequences))
    assert sizes[0] == sizes[1] == round(SLACK * tokens * 0.6 / mean)


def test_few_older_rows_are_all_used(tiny):
    parts = encoded([Share(rows_of("new", 5), 0.4), Share(rows_of("old", 9), 0.6)], tiny[1], 64, 100_000, seed=0)
    assert [len(part.sequences) for part in parts] == [5, 9]
    assert [part.share for part in parts] == [0.4, 0.6]


def test_a_sample_is_uniform_over_seeds_and_keeps_the_order():
    rows = list(range(20))
    drawn = [at_most(rows, 5, seed) for seed in range(400)]
    assert all(each == sorted(each) and len(set(each)) == 5 for each in drawn)
    counts = [sum(row in each for each in drawn) for row in rows]
    assert all(abs(count - 100) < 5 * (400 * 0.25 * 0.75) ** 0.5 for count in counts)  # five standard deviations
    assert at_most(rows, 50, 0) == rows


def test_what_is_held_out_is_trained_on_no_more_and_comes_from_every_share():
    shares = [Share(rows_of("new", 40), 0.4), Share(rows_of("old", 60), 0.6, decay=0.5)]
    left, held = split_off(shares, 0.25, seed=1)
    assert [len(each.rows) for each in held] == [10, 15]
    assert [(each.share, each.decay) for each in left] == [(0.4, 1.0), (0.6, 0.5)]
    for whole, rest, out in zip(shares, left, held, strict=True):
        assert sorted(row["id"] for row in [*rest.rows, *out.rows]) == sorted(row["id"] for row in whole.rows)


@pytest.mark.parametrize("replayed", [True, False])
def test_stage2_is_left_what_was_replayed_or_what_could_have_been(tmp_path, replayed):
    fresh, older = rows_of("new", 10), rows_of("old", 100)
    shares = (
        [Share(fresh, 0.4), Share(older[:20] + rows_of("whole", 5, whole=True), 0.6)] if replayed else [Share(fresh, 1)]
    )
    write_older(tmp_path / "older.json", shares, older, len(fresh), seed=0)
    told = artifact.read_json(tmp_path / "older.json")
    assert told["share"] == (pytest.approx(0.6) if replayed else 0)
    assert len(told["rows"]) == (20 if replayed else 30)
    assert {row["id"].split("/")[0] for row in told["rows"]} == {"old"}
