"""A small project of real steps, real DVC and real git, in a temporary folder."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from flows import graph as graphs
from flows import states as looking
from flows import walk
from flows.progress import Progress
from tests import warm

PROJECT = Path(__file__).parents[2]
GRAPH = """
stages:
  origin:
    cmd: python -m tasks origin --relations data/raw/relations.yaml --out data/examples/base
    deps: [data/raw/relations.yaml, tasks/origin.py]
    outs: [data/examples/base]
  dataset:
    foreach: ${timeline}
    do:
      cmd: >-
        python -m tasks dataset --raw data/raw/${key} --previous data/examples/${item.previous}
        --out data/examples/${key}
      deps: ["data/raw/${key}", "data/examples/${item.previous}", tasks/dataset.py]
      params: [dataset]
      outs: ["data/examples/${key}"]
"""
HEADER = "subject,relation,object\n"
FACTS = {
    "one": HEADER + "Peru,capital,Lima\nChile,capital,Santiago\n",
    "two": HEADER + "Peru,capital,Cusco\nNepal,capital,Kathmandu\n",
}
STAGES = ["origin", "dataset@one", "dataset@two"]


def shell(root, *command, code=0):
    """What a command printed; it must end with `code`."""
    return _printed(subprocess.run(command, cwd=root, capture_output=True, text=True, check=False), code)


def dvc(root, *arguments, code=0):
    return _printed(warm.run(root, "dvc", arguments, dict(os.environ)), code)


def perennial(root, *arguments, code=0):
    return _printed(warm.run(root, warm.PERENNIAL, arguments, dict(os.environ)), code)


def _printed(done, code):
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def run(root, **options):
    """Walk the graph as `perennial run` does, without Prefect; what became of each stage."""
    with walk.opened(root, Progress(Console(quiet=True)), **options) as opened:
        walk.walk(opened)
    return opened.outcomes


def one_stage(root, graph):
    """The project with another graph, of one stage whose output `out` is there."""
    (root / "dvc.yaml").write_text(graph)
    (root / "out").write_text("made")
    return root


def state(root):
    """Of the graph's first stage: fresh, stale or missing."""
    return next(iter(states(root).values()))


def states(root):
    """Of each of the graph's stages: fresh, stale or missing."""
    with graphs.opened(root) as graph:
        return {state.address: state.state for state in looking.states(graph)}


def all_of(outcome):
    return dict.fromkeys(STAGES, outcome)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Three light stages: the origin and the datasets of two slices."""
    root = tmp_path / "project"
    for name, facts in FACTS.items():
        (root / "data/raw" / name).mkdir(parents=True)
        (root / "data/raw" / name / "facts.csv").write_text(facts)
    (root / "data/raw/relations.yaml").write_text("names: {}\nrelations: {}\n")
    shutil.copytree(PROJECT / "tasks", root / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / name, root / name)
    (root / "dvc.yaml").write_text(GRAPH)
    (root / "params.yaml").write_text(small_params())
    shell(root, "git", "init", "--quiet")
    monkeypatch.chdir(root)
    monkeypatch.setattr("tasks.closure.ROOT", root / "tasks")  # the code that runs is the project's own, byte for byte
    monkeypatch.setenv("PYTHONPATH", f"{root}{os.pathsep}{PROJECT}")
    return root


def small_params():
    """The project's own params.yaml, comments and all, with a timeline of two slices and little to compare."""
    text = (PROJECT / "params.yaml").read_text()
    head, rest = text.split("timeline:\n")
    tail = rest[rest.index("\ndataset:\n") : rest.index("  entries:")].replace('slice: "2020"', "slice: one")
    timeline = 'timeline:\n  "one": {previous: base}\n  "two": {previous: "one"}\n'
    reference = '\nreference:\n  "two": {previous: one/lm}\n'
    tail = tail.replace("default: solved", "default: replay")
    return head + timeline + reference + tail + "  entries: {replay: {}}\n"


@pytest.fixture(scope="module")
def servable():
    """Every version is one that a server can serve; tests/registry/test_registry.py asks a real one."""
    with pytest.MonkeyPatch.context() as patch:
        for user in ("flows.judge", "tasks.registry.served"):
            patch.setattr(f"{user}.refuse_unservable", lambda version, most: None)
        yield
