import pytest

from tasks import artifact
from tasks.corpus.everyday import Manner
from tasks.lm.batches import encode
from tasks.lm.mixing import AS_THEY_ARE, MIN_ROWS, MOST_ROUNDS, SLACK, Variation, encoded, write_older
from tasks.lm.shares import Share, at_most, split_off


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


def questions_of(name, count):
    return [{"id": f"{name}/{number}/en/question0", "prompt": f"Who leads {number}?", "target": "Ada", "fact": name}
            for number in range(count)]  # fmt: skip


def test_a_share_of_the_questions_about_facts_is_varied_and_in_another_way_each_time():
    rows = [*questions_of("new", 400), *rows_of("chat", 50), {**questions_of("new", 1)[0], "prompt": ""}]
    vary = Variation(0.5, {"en": Manner(("Hey, {question}",))}, "20 2021")
    once, again, other = vary(rows, 0), vary(rows, 0), vary(rows, 1)
    assert once == again and once[400:] == rows[400:]
    changed = [one["prompt"] != row["prompt"] for one, row in zip(once, rows, strict=True)]
    assert 140 < sum(changed) < 240  # a few variations change nothing
    assert [row | {"prompt": ""} for row in once] == [row | {"prompt": ""} for row in rows]
    assert sum(one["prompt"] != two["prompt"] for one, two in zip(once, other, strict=True)) > 100
    assert AS_THEY_ARE(rows, 0) is rows and Variation(0.5)(rows, 0) is rows


def test_a_frame_that_makes_a_marker_of_a_question_is_not_put_around_it():
    rows = [{"id": "new/0/ko/question0", "prompt": "답변", "target": "Ada", "fact": "new"}]
    vary = Variation(1.0, {"ko": Manner(("({question})",))})
    varied = [vary(rows, number)[0]["prompt"] for number in range(60)]
    assert not any("(답변)" in prompt for prompt in varied)
    assert len(set(varied)) > 3


def test_own_rows_get_a_variation_for_every_time_that_they_come_back_and_half_as_often(tiny):
    _, tokenizer = tiny
    fresh, older = questions_of("new", 200), questions_of("old", 300)
    vary = Variation(1.0, {"en": Manner(("Hey, {question}",))})
    plain = encode(fresh, tokenizer, 64)
    size = sum(len(each.ids) for each in plain)
    for epochs, count in ((0.2, 1), (1.2, 1), (3.8, 3), (100, MOST_ROUNDS)):
        shares = [Share(fresh, 0.4), Share(older, 0.6)]
        own, others = encoded(shares, tokenizer, 64, round(size * epochs / 0.4), 0, vary)
        assert len(own.sequences) == 200 * count and len(others.sequences) <= 300
        clean = sum(one == two for one, two in zip(own.sequences, plain * count, strict=True)) / len(own.sequences)
        assert 0.45 < clean < 0.65  # a few variations change nothing
    clean = sum(each in encode(older, tokenizer, 64) for each in others.sequences) / len(others.sequences)
    assert clean < 0.2
    assert len({tuple(each.ids) for each in own.sequences}) > 600


@pytest.mark.parametrize("replayed", [True, False])
def test_stage2_is_left_what_was_replayed_or_what_could_have_been(tmp_path, replayed):
    fresh, older = rows_of("new", 10), rows_of("old", 300)
    shares = (
        [Share(fresh, 0.4), Share(older[:20] + rows_of("whole", 5, whole=True), 0.6)] if replayed else [Share(fresh, 1)]
    )
    write_older(tmp_path / "older.json", shares, older, len(fresh), seed=0, knew=False)
    told = artifact.read_json(tmp_path / "older.json")
    assert told["share"] == (pytest.approx(0.6) if replayed else 0)
    assert len(told["rows"]) == (20 if replayed else 3 * MIN_ROWS)
    assert {row["id"].split("/")[0] for row in told["rows"]} == {"old"}


def test_stage2_is_left_the_share_that_a_falling_one_had_in_the_mean(tmp_path):
    shares = [Share(rows_of("new", 10), 0.15), Share(rows_of("old", 20), 0.85, decay=0.8)]
    write_older(tmp_path / "older.json", shares, [], 10, seed=0, knew=True)
    mean = 0.85 * (1 + 0.8 + 0.64 + 0.512 + 0.4096) / 5
    assert artifact.read_json(tmp_path / "older.json")["share"] == pytest.approx(mean / (mean + 0.15))


def test_a_slice_without_rows_leaves_no_more_older_ones_than_a_small_slice(tmp_path):
    write_older(tmp_path / "older.json", [Share([], 1.0)], rows_of("old", 1000), 0, seed=0, knew=True)
    assert len(artifact.read_json(tmp_path / "older.json")["rows"]) == 3 * MIN_ROWS


def test_where_nothing_was_trained_on_nothing_is_left_to_stage2(tmp_path):
    write_older(tmp_path / "older.json", [Share([], 1.0)], [], 0, seed=0, knew=False)
    assert artifact.read_json(tmp_path / "older.json") == {"rows": [], "share": 0.0, "knew": False}


def test_of_very_few_rows_one_at_least_is_left_to_train_on():
    for count in (0, 1, 2, 3):
        (left,), (held,) = split_off([Share(rows_of("new", count), 1.0)], 0.9, seed=1)
        assert (len(left.rows), len(held.rows)) == ((1, count - 1) if count else (0, 0))
