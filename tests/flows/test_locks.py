"""One writer at a time, whatever was killed."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from flows import graph as graphs
from flows import update
from flows.locks import is_running, only_run
from tasks.errors import Busy
from tests.flows.conftest import all_of, dvc, run

SLEEP = '\nimport os, time\nif os.environ.get("SLOW"):\n    time.sleep(60)\n'
RUN = """
from pathlib import Path
from tests.flows.conftest import run
run(Path.cwd(), isolated=True)
"""


@pytest.fixture
def slow(project):
    """The datasets' step sleeps for a minute in every process that has SLOW set."""
    with (project / "tasks/dataset.py").open("a") as file:
        file.write(SLEEP)
    return project


def started(root, *command):
    return subprocess.Popen(command, cwd=root, env=os.environ | {"SLOW": "1"}, stderr=subprocess.DEVNULL)


def step_of(process):
    """The process of a step below `process`, when it is there."""
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        for child in psutil.Process(process.pid).children(recursive=True):
            if "dataset" in child.cmdline() and child.cmdline()[1] == "-m":
                return child
        time.sleep(0.05)
    raise AssertionError("no step was started")


def test_a_second_run_is_told_who_is_at_work(project):
    with only_run(project):
        assert is_running(project)
        with pytest.raises(Busy, match=rf"process {os.getpid()}\)") as refused:
            run(project)
    assert refused.value.exit_code == 75
    assert not is_running(project)


def test_kill_9_ends_the_steps_own_process_and_frees_the_lock(slow):
    runner = started(slow, sys.executable, "-c", RUN)
    step = step_of(runner)
    assert is_running(slow)
    runner.kill()
    runner.wait()
    step.wait(timeout=5)
    assert not is_running(slow)
    assert run(slow) == all_of("ran") | {"origin": "cached"}


def test_the_lock_lives_as_long_as_a_step_that_may_write(slow):
    """Without it a second writer could start while a step is being killed."""
    with only_run(slow) as lock:
        step = subprocess.Popen(["sleep", "60"], pass_fds=(lock,))
    assert is_running(slow)
    step.kill()
    step.wait()
    assert not is_running(slow)


def test_a_step_that_outlived_its_dvc_repro_is_named(slow):
    repro = started(slow, sys.executable, "-m", "dvc", "repro", "-q")
    step = step_of(repro)
    with pytest.raises(Busy, match="of `dvc repro` is still at work"):
        run(slow)
    repro.kill()
    repro.wait()
    with pytest.raises(Busy, match=f"kill {step.pid}"):
        run(slow)
    step.send_signal(signal.SIGKILL)
    step.wait(timeout=5)
    assert run(slow)["dataset@two"] == "ran"


def test_a_dvc_repro_that_comes_later_is_refused_and_harms_nothing(project, monkeypatch):
    said = []
    real = update.run_step

    def run_step(arguments, log=None):
        if "data/raw/one" in arguments:
            said.append(dvc(project, "repro", code=255))
        real(arguments, log)

    monkeypatch.setattr(update, "run_step", run_step)
    assert run(project) == all_of("ran")
    assert "busy" in said[0]


def test_files_that_dvc_holds_are_a_sentence(project, monkeypatch):
    run(project)
    from dvc.rwlock import rwlock

    (project / "data/raw/two/facts.csv").write_text("subject,relation,object\nPeru,capital,Quito\n")
    monkeypatch.setattr(update, "PATIENCE", 0.1)
    other = started(project, "sleep", "60")
    monkeypatch.setattr(os, "getpid", lambda: other.pid)
    with graphs.opened(project) as graph:
        held = rwlock(graph.repo.tmp_dir, graph.repo.fs, "dvc status", [str(project / "data/examples/two")], [], False)
        with held:
            monkeypatch.undo()
            monkeypatch.chdir(project)
            monkeypatch.setattr(update, "PATIENCE", 0.1)
            with pytest.raises(Busy, match=rf"in use by another DVC process \(PID {other.pid}\): dvc status"):
                update.update_stage(graph, graph.stages[-1], lock=0)
            monkeypatch.setattr(os, "getpid", lambda: other.pid)
    other.kill()
    other.wait()
