"""`perennial methods` on a tiny project: killed and continued, told what is wrong, and not beside another run."""

import json
import os
import shutil
import signal
import time

import psutil
import pytest

from flows.locks import only_run
from tests import warm
from tests.end_to_end.project import make_project, set_params

ENTRIES = {"naive": {}, "replay": {"methods": [{"name": "replay", "share": 0.4}]}}
BROKEN = {"methods": [{"name": "ewc", "strength": 1.0e38, "samples": 4}]}


def environment(root, mlflow=""):
    return os.environ | {"PYTHONPATH": str(root), "MLFLOW_TRACKING_URI": mlflow, "PREFECT_HOME": str(root / ".prefect")}


def methods(root, *words, code=0, mlflow=""):
    done = warm.run(root, warm.PERENNIAL, ["methods", *words], environment(root, mlflow))
    assert done.returncode == code, done.stdout
    return done.stdout


def children(process):
    """The entries at work below a running command."""
    found = psutil.Process(process.pid).children(recursive=True)
    return [child for child in found if "tasks.comparison" in child.cmdline()]


def wait_until(process, happened):
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        assert process.is_alive(), "it ended before it could be stopped"
        if happened():
            return
        time.sleep(0.02)
    raise AssertionError("it never happened")


def results(root):
    """Scores byte for byte, and what was counted of the cost; what was measured is another each time."""
    found = {}
    for path in sorted((root / ".perennial/comparison").rglob("*.json")):
        name = str(path.relative_to(root))
        if path.name in ("scores.json", "key.json"):
            found[name] = path.read_text()
        elif path.name == "cost.json":
            cost = json.loads(path.read_text())
            found[name] = [cost["stored_bytes"], cost["stage1"]["flops"], cost["stage2"]["flops"]]
    return found


def report(root):
    return json.loads((root / "reports/methods.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A comparison that was left alone, and one of whose entries fails."""
    root = make_project(tmp_path_factory.mktemp("methods") / "project")
    entries = {"broken": BROKEN, **ENTRIES}
    comparison = {"seeds": [1], "first": [], "steps": 20, "processes": 2, "entries": entries, "default": "replay"}
    set_params(root, comparison=comparison)
    return root, methods(root, code=1)


def test_all_is_trained_once_and_told_and_one_that_fails_stops_no_other(whole):
    root, output = whole
    assert "broken, seed 1: The loss is not finite at step" in output
    assert "0 of 3 were finished, 2 trained, 1 failed" in output
    assert "Failed: broken (seed 1)." in output
    assert "replay (default)" in output
    assert "without it" not in output
    told = report(root)
    assert told["entries"].keys() == {"broken", "naive", "replay"}
    assert told["entries"]["replay"]["seeds"]["1"]["metrics"]["tflops"] > 0
    assert "not finite" in told["entries"]["broken"]["failed"]["1"]
    assert (root / "reports/methods.html").exists()
    assert {path.name for path in (root / "reports/methods").glob("*.png")} == {
        "methods_cost.png", "methods_balance.png",
    }  # fmt: skip
    assert not (root / "models").exists()  # of the pipeline's stages only the examples were made
    before, trained = results(root), {name: told["entries"][name] for name in ENTRIES}
    again = methods(root, *ENTRIES, mlflow="http://127.0.0.1:9")  # a store that is away costs one line
    assert "2 of 2 were finished, 0 trained" in again
    assert " ".join(again.split()).count("Nothing was published to MLflow: The MLflow server") == 1
    assert results(root) == before
    assert {name: report(root)["entries"][name] for name in ENTRIES} == trained  # measured seconds and all


def stop_in_the_middle(root, words, number, mark):
    """Start it, and stop it once `mark` is there; nothing that it started lives on."""
    process = warm.start(root, warm.PERENNIAL, ["methods", *words], environment(root))
    wait_until(process, lambda: mark.exists() and children(process))
    at_work = children(process)
    os.kill(process.pid, number)
    process.join(timeout=60)
    psutil.wait_procs(at_work, timeout=5)
    assert not any(child.is_running() for child in at_work)


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (["replay"], signal.SIGKILL),
        pytest.param([*ENTRIES], signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param([*ENTRIES], signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_one_that_is_stopped_in_the_middle_goes_on_to_the_same_results(whole, words, number):
    root, _ = whole
    expected, work = results(root), root / ".perennial/comparison/1"
    shutil.rmtree(work / "replay")
    if len(words) > 1:
        shutil.rmtree(work / "naive/2021")
    first_slice = work / "replay/2020/key.json"
    stop_in_the_middle(root, words, number, first_slice)
    made = first_slice.stat().st_mtime_ns
    assert results(root) != expected
    methods(root, *words)
    assert results(root) == expected
    assert first_slice.stat().st_mtime_ns == made  # what was finished is not done again


def test_two_commands_say_busy_to_one_another(whole):
    root, _ = whole
    with only_run(root):
        assert f"`perennial run` is at work here (process {os.getpid()})" in " ".join(methods(root, code=75).split())
    with only_run(root, "methods"):
        assert "`perennial methods` is at work here" in " ".join(methods(root, code=75).split())
