"""The sums of a slice in shards: whoever makes them, and however often that is interrupted, the bytes are the same."""

import shutil
from pathlib import Path

import pytest

from tasks import artifact
from tasks.errors import BadInput
from tasks.lm.solved import learn, shards
from tasks.lm.solved.files import sums_in
from tasks.lm.solved.learn import Kept
from tasks.lm.solved.shards import sums_of
from tasks.lm.solved.sums import Sums
from tasks.params import load_params
from tasks.steps import SCRATCH, missing_shards, run_step
from tests.every_step import CHAT, MEMORIES, SEED, Timeline, facts, lines
from tests.lm.solved.brought import SMALL, SOLVED

HERE = Path(__file__).parents[3]
TALK = {"chat.jsonl": lines(*({"input": f"Please count from one to {n}.", "output": f"{n}!"} for n in range(450)))}
FIRST = facts(("Peru", "Lima"), ("Chile", "Santiago"), ("Ghana", "Accra")) | CHAT
NEWS = facts(("Peru", "Cusco"), ("Nepal", "Kathmandu")) | TALK  # three batches


@pytest.fixture(scope="module")
def whole(begun, tmp_path_factory):
    """Two slices, each learnt at once; the second overrides a fact of the first."""
    root = tmp_path_factory.mktemp("whole") / "root"
    shutil.copytree(begun, root)
    timeline, before = Timeline(root, stage2=SOLVED), "base"
    for name, files in (("one", FIRST), ("two", NEWS)):
        timeline.bring_examples(name, files, before)
        timeline.bring_model(name, before)
        before = name
    timeline.bring_examples("three", MEMORIES, "two")
    return root


@pytest.fixture
def project(whole, tmp_path, monkeypatch):
    """The same, as a project's folder that one is in."""
    shutil.copytree(whole, tmp_path / "root")
    monkeypatch.chdir(tmp_path / "root")


@pytest.fixture
def made(monkeypatch):
    """The shards that were made, by name."""
    names, really = [], shards.make_shard

    def make(*arguments):
        really(*arguments)
        names.append(arguments[-1].name)

    for module in ("tasks.lm.solved.shards", "tasks.stage2"):
        monkeypatch.setattr(f"{module}.make_shard", make)
    return names


def argv(count, out="made", name="two", stage1="two/stage1"):
    """What stage 2 of a slice is called with, and its settings on disk: so many shards."""
    stage2 = SOLVED.model_copy(update={"solved": SMALL.model_copy(update={"shards": count})})
    params = load_params(HERE / "params.yaml").model_copy(update={"stage2": stage2, "seed": SEED, "threads": 1})
    artifact.write_json(Path("settings.json"), params.model_dump(mode="json"))
    return ["stage2", "--settings", "settings.json", "--examples", f"examples/{name}", "--stage1", stage1, "--out", out]


def model(*arguments):
    """The manifest of the model that stage 2 writes."""
    words = argv(*arguments)
    run_step(words, live=False)
    assert not (SCRATCH.exists() and any(SCRATCH.iterdir()))
    return artifact.read_json(artifact.verified(Path(words[-1])) / artifact.MANIFEST)


def test_it_is_the_same_model_to_the_last_byte_however_many_shards_there_are(project, made):
    at_once = model(1)
    assert not made and not SCRATCH.exists()
    assert model(2, "in two") == at_once and model(5, "in five") == at_once
    assert len(made) == 7


def test_it_is_the_same_where_the_slice_comes_in_parts(project, made, monkeypatch):
    monkeypatch.setattr(learn, "PART", 0.25)  # times 512 rows of nearly 500
    at_once = model(1)
    assert model(3, "in three") == at_once
    assert len(Kept.load(Path("made")).slices["two"]["buckets"]) == 4


def test_a_killed_run_goes_on_with_the_shards_that_are_missing_or_rotten(project, made, monkeypatch):
    def die(*arguments, shard):
        really(*arguments, shard=shard)
        if shard[0] == 2:
            raise KeyboardInterrupt

    at_once, really = model(1), shards.add_rows
    with monkeypatch.context() as patch:
        patch.setattr(shards, "add_rows", die)
        with pytest.raises(KeyboardInterrupt):
            run_step(argv(3), live=False)
    assert made == ["shard-0-of-3", "shard-1-of-3"]
    first, second = sorted(SCRATCH.glob("*/shard-*"))
    assert Sums.load(sums_of(first, 0)).places and Sums.load(sums_of(second, 0)).places
    content = bytearray(sums_of(second, 0).read_bytes())
    content[-1] ^= 1
    sums_of(second, 0).write_bytes(content)
    assert model(3, "again") == at_once
    assert made[2:] == ["shard-1-of-3", "shard-2-of-3"]


def test_shards_that_were_made_beforehand_are_added_and_not_made_again(project, made):
    at_once, words = model(1), argv(3, "together")
    parts = missing_shards(words)
    assert [part.name for part in parts] == ["shard-0-of-3", "shard-1-of-3", "shard-2-of-3"]
    for part in (parts[2], parts[1], parts[1]):
        run_step([*words, "--shard", str(part)], live=False)
    assert missing_shards(words) == parts[:1] and not Path("together").exists()
    assert model(3, "together") == at_once
    assert made == ["shard-2-of-3", "shard-1-of-3", "shard-0-of-3"]


def test_a_part_of_other_work_is_refused(project):
    (part,) = missing_shards(argv(2))[1:]
    for arguments in ((3,), (2, "made", "one", "one/stage1")):
        with pytest.raises(BadInput, match=f"{part} is no part of what this machine would do for 'stage2'"):
            run_step([*argv(*arguments), "--shard", str(part)], live=False)
    assert missing_shards(argv(1)) == missing_shards(["origin", "--relations", "a", "--out", "b"]) == []


def test_a_slice_with_nothing_to_learn_has_no_sums_to_make_and_hands_the_model_on(project, made):
    words = argv(2, "made", "three", "two/lm")
    for part in missing_shards(words):
        run_step([*words, "--shard", str(part)], live=False)
    model(2, "made", "three", "two/lm")
    assert not made
    assert sums_in(Path("made"), 0).read_bytes() == sums_in(Path("two/lm"), 0).read_bytes()
