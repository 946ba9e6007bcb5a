"""A run stops after the slice whose scores are below the floor, before the next one trains."""

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from flows import graph as graphs
from flows import update, walk
from flows.progress import Progress
from flows.walk import BelowFloor
from tasks import artifact
from tests.flows.conftest import GRAPH, PROJECT, dvc, run

TRAINING = """
  stage1:
    foreach: ${timeline}
    do:
      cmd: python -m tasks stage1 --previous models/${item.previous} --out models/${key}
      deps: ["models/${item.previous}", "data/examples/${key}"]
      outs: ["models/${key}"]
  evaluate:
    foreach: ${timeline}
    do:
      cmd: python -m tasks evaluate --model models/${key} --out reports/evaluation/${key}
      deps: ["models/${key}"]
      outs: ["reports/evaluation/${key}"]
"""
RETAINED = {"one": None, "two": 0.61}


@pytest.fixture
def light(project, monkeypatch):
    """Stages that train and evaluate in no time; the steps that were run, in their order."""
    (project / "dvc.yaml").write_text(GRAPH + TRAINING)
    (project / "models/base").mkdir(parents=True)
    (project / "models/base/weights").write_text("0")
    ran = []
    real = update.run_step

    def run_step(arguments, log=None):
        step, out = arguments[0], Path(arguments[-1])
        ran.append(f"{step}@{out.name}")
        if step in ("origin", "dataset"):
            return real(arguments, log)
        with artifact.writing(out) as folder:
            content = scores(out.name) if step == "evaluate" else {"weights": out.name}
            artifact.write_json(folder / ("scores.json" if step == "evaluate" else "weights.json"), content)
        return None

    monkeypatch.setattr(update, "run_step", run_step)
    return project, ran


def scores(name):
    rows = {"one": 3} if name == "one" else {"one": 2, "two": 3}
    return {
        "slice": name, "rows": rows, "model": {"accuracy": dict.fromkeys(rows, 0.9)},
        "valid": {"accuracy": 0.8, "paraphrase_accuracy": 0.7}, "categories": {"new": 0.9, "retained": RETAINED[name]},
    }  # fmt: skip


def set_floor(root, floor):
    path = root / "params.yaml"
    lines = [f"floor: {floor}" if line.startswith("floor:") else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")


def test_without_a_floor_the_timeline_goes_on(light):
    root, ran = light
    run(root)
    assert ran[-2:] == ["stage1@two", "evaluate@two"]


def test_a_slice_is_evaluated_before_the_next_one_trains(light):
    root, ran = light
    run(root)
    assert ran.index("evaluate@one") < ran.index("stage1@two")


def test_the_run_stops_before_the_next_slice_trains_and_says_the_same_again(light):
    root, ran = light
    set_floor(root, "{valid: 0.85}")
    sentences = []
    for _ in range(2):
        with pytest.raises(BelowFloor) as stopped:
            run(root)
        sentences.append(str(stopped.value))
        assert stopped.value.exit_code != 0
        assert walk.last_run(root)["outcome"] == "failed"
    assert sentences[0] == sentences[1]
    assert sentences[0].startswith("The timeline stops after slice one: valid is 0.800, below its floor of 0.850.")
    assert sorted(ran) == ["dataset@one", "evaluate@one", "origin@base", "stage1@one"]  # once, in two runs
    assert "evaluate@one" in (root / "dvc.lock").read_text()  # nothing is lost
    set_floor(root, "{valid: 0.8}")
    assert run(root)["evaluate@one"] == "cached"
    assert ran[-2:] == ["stage1@two", "evaluate@two"]
    assert "up to date" in dvc(root, "status")


def test_the_last_slices_floor_stops_what_would_follow(light):
    root, ran = light
    set_floor(root, "{retained: 0.7}")  # the first slice has nothing to retain
    with pytest.raises(BelowFloor, match=r"after slice two: retained is 0\.610, below its floor of 0\.700"):
        run(root)
    assert ran[-1] == "evaluate@two"


def test_a_floor_that_is_set_when_all_is_done_keeps_the_models_from_being_published(light):
    root, ran = light
    run(root)
    done = len(ran)
    set_floor(root, "{new: 0.95}")
    with (
        pytest.raises(BelowFloor, match="after slice one: new is 0.900"),
        walk.opened(root, Progress(Console(quiet=True))) as opened,
    ):
        assert not walk.anything_to_do(opened)
        walk.publish(opened)
    assert opened.failed  # and so Prefect's own troubles are not blamed
    assert len(ran) == done


def test_a_broken_floor_is_told_as_a_step_that_was_done(light):
    root, _ = light
    set_floor(root, "{valid: 0.85}")
    console = Console(record=True, width=100, file=io.StringIO())
    with pytest.raises(BelowFloor), Progress(console) as progress, walk.opened(root, progress) as opened:
        walk.walk(opened)
    assert "evaluate       one          done" in console.export_text()


def test_in_the_projects_own_graph_every_slice_is_evaluated_before_the_next_one_trains(project):
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, project / name)
    with graphs.opened(project) as graph:
        addresses = [stage.addressing for stage in graph.stages]
    slices = [address.partition("@")[2] for address in addresses if address.startswith("stage1@")]
    assert len(slices) > 1
    for older, newer in zip(slices, slices[1:], strict=False):
        assert addresses.index(f"evaluate@{older}") < addresses.index(f"stage1@{newer}")
