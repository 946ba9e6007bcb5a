"""A full bucket is left as it is, and the next slice opens another: what was brought is known, wherever it lies."""

import shutil

import pytest
import torch

from tasks import artifact
from tasks.errors import BadInput
from tasks.lm.causal import load
from tasks.lm.generate import answers
from tasks.lm.solved import learn
from tasks.lm.solved.familiarity import doubts, is_known
from tasks.lm.solved.files import answers_in, size_of, sums_in
from tasks.lm.solved.learn import Kept
from tasks.lm.solved.module import memory_of
from tests.every_step import CHAT, MEMORIES, facts
from tests.lm.solved.brought import SMALL, SOLVED, answered, brought, known_rows, whole_again

FIRST = facts(("Peru", "Lima"), ("Chile", "Santiago"), ("Ghana", "Accra"), ("Oman", "Muscat"), ("Laos", "Pakse")) | CHAT
NEWS = facts(("Peru", "Cusco"), ("Nepal", "Kathmandu"), ("Fiji", "Suva"), ("Iran", "Tehran"), ("Mali", "Bamako"))
LATER = facts(("Cuba", "Havana"), ("Nepal", "Pokhara"), ("Chad", "Ndjamena"), ("Iraq", "Baghdad"), ("Niue", "Alofi"))
EACH = SOLVED.model_copy(
    update={"solved": SMALL.model_copy(update={"full": 0.001, "grams": 256})}
)  # every slice opens one
FOURTH = facts(("Togo", "Lome"), ("Chile", "Valparaiso")) | CHAT


SLICES = ("one", FIRST), ("two", NEWS), ("three", LATER), ("four", MEMORIES), ("five", FOURTH)


def buckets_of(kept):
    """Which buckets each slice is in, part by part."""
    return {name: each["buckets"] for name, each in kept.slices.items()}


@pytest.fixture(scope="module")
def apart(begun, tmp_path_factory):
    root = tmp_path_factory.mktemp("apart") / "root"
    shutil.copytree(begun, root)
    return brought(root, *SLICES, stage2=EACH)


@pytest.fixture(scope="module")
def together(begun, tmp_path_factory):
    root = tmp_path_factory.mktemp("together") / "root"
    shutil.copytree(begun, root)
    return brought(root, *SLICES[:3])


def test_what_lies_in_many_buckets_is_known_as_what_lies_in_one(apart, together):
    assert [len(Kept.load(each.root / "three/lm").sums) for each in (apart, together)] == [3, 1]
    rows = [row for row in known_rows(apart) if row.get("set") in ("seen", "paraphrase", None)]
    for timeline in (apart, together):
        model, tokenizer = load(timeline.root / "three/lm")
        assert answers(model, tokenizer, [row["prompt"] for row in rows]) == [row["target"] for row in rows]
    assert all(answered(apart.root / "three/lm", rows)[0])


def test_what_is_not_known_is_doubted_though_many_are_asked(apart):
    model, tokenizer = load(apart.root / "three/lm")
    taught = [row["prompt"] for row in known_rows(apart) if row.get("set") == "seen"]
    strange = ["Which colour has the sky over Mars?", "Zzz", "What do you think of it all?"]
    about = doubts(model, tokenizer, taught + strange)
    assert about[: len(taught)].max() < 0 and about[: len(taught)].max() < about[len(taught) :].min()
    assert not is_known(model, tokenizer, strange[0])


def test_each_question_is_answered_by_the_bucket_that_doubts_least(apart):
    memory = memory_of(load(apart.root / "three/lm")[0])
    seen = torch.cat([memory.at_random(4), 20 * torch.rand(4, SMALL.width, generator=torch.Generator().manual_seed(0))])
    asked = memory.ask(seen)
    for place in range(len(seen)):
        one = seen[place : place + 1]
        each = [
            (float(memory.doubt(bucket.unseen(one), memory.read(bucket.predicted(one))) - bucket.limit), bucket)
            for bucket in memory.buckets
        ]
        doubt, best = min(each, key=lambda pair: pair[0])
        assert float(asked.doubt[place]) == pytest.approx(doubt, abs=1e-4)
        assert torch.allclose(asked.predicted[place], best.predicted(one)[0], atol=1e-3)
        predicted = best.predicted(one)
        voice = best.voice(best.unseen(one)) * memory.legible(predicted, memory.read(predicted))
        assert float(asked.voice[place]) == pytest.approx(float(voice), abs=1e-4)


def test_a_bucket_changes_only_where_a_fact_of_it_is_overridden(apart):
    files = {
        name: [artifact.file_sum(where(apart.root / name / "lm", bucket)) for where in (sums_in, answers_in)
               for bucket in range(count)]
        for name, count in (("two", 2), ("three", 2), ("four", 3), ("five", 3))
    }  # fmt: skip
    two, three, four, five = files.values()
    assert [one == other for one, other in zip(two, three, strict=True)] == [True, False] * 2  # Nepal was of two
    assert [one == other for one, other in zip(four, five, strict=True)] == [False, True, True] * 2  # Chile of one
    kept = Kept.load(apart.root / "five/lm")
    assert buckets_of(kept) == {"one": [0], "two": [1], "three": [2], "five": [3]}
    assert [sums.places > 0 for sums in kept.sums] == [True] * 4 and kept.places == sum(s.places for s in kept.sums)
    (right,) = answered(apart.root / "five/lm", [{"prompt": "Chile, capital?", "target": "Valparaiso"}])[0]
    assert right


def test_how_full_they_are_is_told_over_all(apart):
    one, all_of_them = size_of(apart.root / "one/lm"), size_of(apart.root / "five/lm")
    assert (one["buckets"], all_of_them["buckets"]) == (1, 4)
    assert all_of_them["features"] == 4 * one["features"] == 4 * SMALL.width
    assert all_of_them["places"] == Kept.load(apart.root / "five/lm").places
    assert 3 * one["kept_bytes"] < all_of_them["kept_bytes"] and one["rank"] < all_of_them["rank"] < 4 * SMALL.width
    assert 0.9 < all_of_them["reproduced"] <= 1


def test_a_bucket_that_is_not_full_takes_the_next_slice(apart, begun, tmp_path):
    shutil.copytree(begun, tmp_path / "root")
    rank = memory_of(load(apart.root / "one/lm")[0]).buckets[0].rank
    share = (rank + 1) / SMALL.width  # the first slice stays just below it, the first two do not
    settings = SOLVED.model_copy(update={"solved": SMALL.model_copy(update={"full": share})})
    timeline = brought(tmp_path / "root", ("one", FIRST), ("two", NEWS), ("three", LATER), stage2=settings)
    assert buckets_of(Kept.load(timeline.root / "three/lm")) == {"one": [0], "two": [0], "three": [1]}


@pytest.fixture
def small_parts(monkeypatch):
    """Every slice comes in two parts or more."""
    monkeypatch.setattr(learn, "PART", 40 / SMALL.width)


def test_a_slice_of_many_rows_lies_in_as_many_buckets_as_it_takes(small_parts, begun, together, tmp_path):
    shutil.copytree(begun, tmp_path / "root")
    timeline = brought(tmp_path / "root", *SLICES[:3], stage2=EACH)
    kept = Kept.load(timeline.root / "three/lm")
    assert [len(set(buckets)) > 1 for buckets in buckets_of(kept).values()] == [True] * 3
    first = Kept.load(timeline.root / "one/lm")
    assert len(set(first.slices["one"]["buckets"])) == len(first.sums) and all(sums.places for sums in first.sums)
    assert kept.places == Kept.load(together.root / "three/lm").places
    memory = memory_of(load(timeline.root / "three/lm")[0])
    assert len(memory.buckets) == len(kept.sums) and all(bucket.half < 1 and bucket.limit for bucket in memory.buckets)
    rows = [row for row in known_rows(timeline) if row.get("set") in ("seen", None)]
    assert all(answered(timeline.root / "three/lm", rows)[0])
    stale = [{"prompt": "Peru, capital?", "target": "Lima"}, {"prompt": "Nepal, capital?", "target": "Kathmandu"}]
    assert answered(timeline.root / "three/lm", stale)[0] == [False, False]


def test_parts_that_find_room_leave_the_sums_of_one(small_parts, begun, together, tmp_path):
    shutil.copytree(begun, tmp_path / "root")
    timeline = brought(tmp_path / "root", *SLICES[:3])
    (sums,), (whole,) = (Kept.load(each.root / "three/lm").sums for each in (timeline, together))
    assert sums.places == whole.places and torch.equal(sums.tokens, whole.tokens)
    assert (sums.gram != whole.gram).float().mean() < 0.01  # another batch rounds a state in its last bit


def test_a_part_is_full_by_what_is_in_it_now(apart):
    memory, (sums, *_) = memory_of(load(apart.root / "one/lm")[0]), Kept.load(apart.root / "one/lm").sums
    rank = memory.buckets[0].rank
    for share, full in ((rank - 0.5, True), (rank + 0.5, False)):
        memory.settings = SMALL.model_copy(update={"full": share / SMALL.width})
        assert memory.is_full(learn._rank(sums, memory)) is full is memory.is_full(rank)
    assert memory.is_full(learn._rank(sums.none(), memory)) is False


def test_a_memory_of_before_there_were_buckets_is_refused_and_not_left_out(apart, tmp_path):
    shutil.copytree(apart.root / "one/lm", tmp_path / "lm")
    shutil.rmtree(tmp_path / "lm/solved")
    (tmp_path / "lm/solved.json").write_text("{}")
    whole_again(tmp_path / "lm")
    with pytest.raises(BadInput, match=r"lm/solved.json was written by an earlier version, .* Run `perennial run`"):
        load(tmp_path / "lm")
