"""Every entry of the comparison over four slices, of which the two in the middle bring no row to train on."""

import shutil

import pytest

from tasks import artifact
from tasks.comparison import results, take_through
from tasks.params import Slice, load_params
from tasks.scoring.comparison import gather_comparison
from tests.every_step import (
    CHAT,
    EVALUATE,
    MEMORIES,
    PRETRAIN,
    STAGE1,
    STAGE2,
    Timeline,
    facts,
    same_weights,
)

PARAMS = load_params()
ENTRIES = PARAMS.comparison.entries
REHEARSING = {"replay", "forgotten", "mix_review", "joint", "der"}  # what these replay is trained on, news or not
SLICES = {
    "one": facts(("Peru", "Lima"), ("Chile", "Santiago")) | CHAT,
    "two": MEMORIES,
    "three": facts(("Peru", "Lima")),  # a month without news
    "four": facts(("Peru", "Cusco"), ("Nepal", "Kathmandu")),
}
FEW = 20  # rows that a method writes or keeps


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """The examples of all slices, and the base."""
    timeline = Timeline(tmp_path_factory.mktemp("slices"))
    timeline.begin()
    before = "base"
    for name, files in SLICES.items():
        timeline.bring_examples(name, files, before)
        before = name
    timeline.bring_model("one", "base")
    shutil.rmtree(timeline.root / "one")
    return timeline.root


@pytest.mark.parametrize("name", ENTRIES)
def test_a_slice_without_rows_leaves_the_model_and_what_its_methods_keep(examples, tmp_path, name):
    entry = ENTRIES[name]
    root = tmp_path / "timeline"
    shutil.copytree(examples, root)
    keep = entry.keep
    timeline = Timeline(root, methods=tuple(small(method) for method in entry.methods), keep=keep)
    models = [timeline.bring_model(name, before) for before, name in zip(["base", *SLICES], SLICES, strict=False)]
    rehearsed = keep.rows != "none" or any(method.name == "der" for method in entry.methods)
    for older, newer in zip(models[:2], models[1:3], strict=True):
        if not rehearsed or not any(method.name in REHEARSING for method in entry.methods):
            assert same_weights(older, newer)
            assert files_of(older / "method") == files_of(newer / "method")
    assert not same_weights(models[2], models[3])
    assert files_of(models[3] / "method").keys() == files_of(models[0] / "method").keys()


@pytest.mark.parametrize("name", ["joint", "naive"])
def test_the_comparison_counts_what_a_slice_without_rows_left(examples, tmp_path, name):
    timeline = dict(zip(SLICES, (Slice(previous=before) for before in ("base", *SLICES)), strict=False))
    fewer = PARAMS.comparison.model_copy(update={"first": (), "steps": 2, "seeds": (1,)})
    changed = {"timeline": timeline, "pretrain": PRETRAIN, "stage1": STAGE1, "stage2": STAGE2, "evaluate": EVALUATE}
    params = PARAMS.model_copy(update={**changed, "comparison": fewer})
    take_through(name, params, 1, examples / "examples", tmp_path, lambda *_: None)
    folders = results(name, params, 1, examples / "examples", tmp_path)
    told = gather_comparison(params, {(name, 1): folders}, {})["entries"][name]["mean"]
    assert told["accuracy"] is not None and told["retained"] is not None
    before, after = (artifact.read_json(folder / "scores/scores.json") for folder in folders[1:3])
    assert name == "joint" or before["valid"] == after["valid"]


def small(method):
    return method.model_copy(update={"rows": FEW}) if isinstance(getattr(method, "rows", None), int) else method


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
