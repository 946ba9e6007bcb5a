"""`perennial speed`: every way of training is measured beside the plain one, and what can't be is told."""

import json
from io import StringIO

import pytest
from rich.console import Console

from flows import speed as command
from flows.speed import NoneMeasured, measure_speed
from tasks import artifact
from tasks import speed as step
from tasks.errors import BadInput
from tasks.params import load_params
from tasks.speed import FOUND, PLAIN, WAYS, Way, measure_way, why_not
from tests.end_to_end.project import make_project
from tests.every_step import chained_examples, facts


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("speed") / "project")


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    slices = {"one": facts(("Peru", "Lima"), ("Chile", "Santiago"), ("Ghana", "Accra"))}
    return chained_examples(tmp_path_factory.mktemp("examples"), slices) / "one"


@pytest.mark.parametrize("name", [name for name in WAYS if name != "compiled blocks"])
def test_each_way_trains_the_same_batches(root, examples, tmp_path, name):
    params, steps = load_params(root / "params.yaml"), []
    measure_way(WAYS[name], "small", params, examples, tmp_path / "out", 3, lambda number, _: steps.append(number))
    found = artifact.read_json(tmp_path / "out" / FOUND)
    assert steps == [1, 2, 3] and len(found["seconds"]) == len(found["tokens"]) == 3
    assert min(found["seconds"]) > 0 and found["peak_memory_mb"] > 50 and 0 < found["loss"] < 20


def test_blocks_computed_again_learn_the_same(root, examples, tmp_path):
    params, losses = load_params(root / "params.yaml"), []
    for name in (PLAIN, "blocks twice"):
        measure_way(WAYS[name], "small", params, examples, tmp_path / name, 3, lambda *_: None)
        losses.append(artifact.read_json(tmp_path / name / FOUND)["loss"])
    assert losses[0] == losses[1]


def test_the_table_has_what_was_measured_and_why_the_rest_was_not(root, monkeypatch):
    ways = {
        PLAIN: WAYS[PLAIN],
        "LoRA": WAYS["LoRA"],
        "by magic": Way("magic: true"),
        "compiled": Way("", compiled=True),
    }
    monkeypatch.chdir(root)
    monkeypatch.setattr(command, "WAYS", ways)
    monkeypatch.setattr(step.shutil, "which", lambda name: None)
    out = StringIO()
    measure_speed(root, Console(file=out, width=140), None, 2, 1)
    said, found = out.getvalue(), json.loads((root / "reports/speed.json").read_text())
    assert [way["name"] for way in found["ways"]] == list(ways) and found["model"] == "small"
    plain, lora, magic, compiled = found["ways"]
    assert plain["seconds"] > 0 and lora["seconds"] > 0 and "1.00" in said
    assert "KeyError" in magic["why_not"] and compiled["why_not"].startswith("there is no C++ compiler")
    assert "there is no C++ compiler" in said and "by magic" in said


def test_a_model_that_is_not_there_is_a_sentence(root, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.setattr(command, "WAYS", {PLAIN: WAYS[PLAIN]})
    with pytest.raises(NoneMeasured, match="there is no folder '/no/such'"):
        measure_speed(root, Console(file=StringIO()), "/no/such", 2, 1)


def test_only_a_compiler_is_missed(monkeypatch):
    monkeypatch.setattr(step.shutil, "which", lambda name: "/usr/bin/g++" if name == "g++" else None)
    assert [why_not(way) for way in WAYS.values()] == [None] * len(WAYS)


def test_a_slice_without_rows_is_refused(root, tmp_path, monkeypatch):
    class Nothing:
        train: tuple[()] = ()

    monkeypatch.setattr(step, "load_examples", lambda folder: Nothing)
    with pytest.raises(BadInput, match="2020 has no rows to train on"):
        measure_way(WAYS[PLAIN], "small", load_params(root / "params.yaml"), root / "2020", tmp_path, 2, print)
