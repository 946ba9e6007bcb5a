"""What a step is made of: dvc.yaml lists all of its code, and a checkpoint belongs to the code that wrote it."""

from pathlib import Path

import pytest
import yaml

from tasks import closure, steps
from tasks.closure import ROOT, code_of, code_sum
from tasks.params import load_params

HERE = ROOT.parent
STAGES = {
    name: stage.get("do", stage) for name, stage in yaml.safe_load((HERE / "dvc.yaml").read_text())["stages"].items()
}


def code_of_stage(stage):
    """The modules that the stage's step runs through; without a retriever none of its room."""
    words = stage["cmd"].split()
    if words[3] == "settings":  # how params.yaml is read is what it is about
        return code_of("tasks.settings", plumbing=())
    unused = () if words[3] != "evaluate" or "--retriever" in words else ("tasks.retrieval",)
    return code_of(f"tasks.{words[3]}", without=unused)


@pytest.mark.parametrize("name", STAGES)
def test_dvc_knows_all_the_code_of_a_stage(name):
    deps = [HERE / dep for dep in STAGES[name]["deps"]]
    lacking = [
        path.relative_to(HERE).as_posix()
        for path in code_of_stage(STAGES[name])
        if not any(path.is_relative_to(dep) for dep in deps)
    ]
    assert not lacking, f"dvc.yaml: {name} lacks {', '.join(lacking)}"


@pytest.mark.parametrize("name", STAGES)
def test_dvc_knows_no_code_that_a_stage_never_runs(name):
    code = code_of_stage(STAGES[name])
    deps = [HERE / dep for dep in STAGES[name]["deps"] if dep.startswith("tasks/")]
    assert all(dep.exists() for dep in deps)
    assert not [dep for dep in deps if not any(path.is_relative_to(dep) for path in code)]


def test_an_edit_of_the_report_or_of_the_memories_retrains_nothing():
    for step in ("pretrain", "stage1", "stage2", "naive", "retriever", "evaluate"):
        rooms = {path.relative_to(ROOT).parts[0] for path in code_of(f"tasks.{step}")}
        assert not rooms & {"reporting", "memory", "registry"}, step


def test_what_is_imported_lazily_or_by_a_package_counts_and_what_only_types_need_does_not():
    names = {path.relative_to(ROOT).as_posix() for path in code_of("tasks.evaluate")}
    assert "retrieval/search.py" in names  # inside a function
    assert "lm/methods/ewc.py" in {path.relative_to(ROOT).as_posix() for path in code_of("tasks.stage1")}
    assert "registry/store.py" not in {path.relative_to(ROOT).as_posix() for path in code_of("tasks.stage1")}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of its own in the place of `tasks`."""
    files = {
        "step.py": "from tasks.room import one\n",
        "room/__init__.py": "",
        "room/one.py": "def f():\n    from . import two\n    import tasks.room.three\n",
        "room/two.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tasks.room import four\n",
        "room/three.py": "from tasks import params\n",
        "room/four.py": "",
        "params.py": "from tasks.room import four\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(closure, "ROOT", tmp_path)
    for function in (closure._imports, closure._digest):
        function.cache_clear()
    yield tmp_path
    for function in (closure._imports, closure._digest):
        function.cache_clear()


def test_the_closure_of_a_small_package(package):
    names = [path.relative_to(package).as_posix() for path in code_of("tasks.step")]
    assert names == ["room/__init__.py", "room/one.py", "room/three.py", "room/two.py", "step.py"]
    assert len(code_of("tasks.step", without=("tasks.room",))) == 1


def test_an_edit_of_any_of_it_gives_another_sum(package):
    before = code_sum("tasks.step")
    for name, changes in (("room/three.py", True), ("room/four.py", False), ("params.py", False)):
        text = (package / name).read_text()
        (package / name).write_text(f"{text}# edited\n")
        closure._digest.cache_clear()
        assert (code_sum("tasks.step") != before) == changes, name
        (package / name).write_text(text)


def test_a_method_that_was_mended_does_not_go_on_from_the_old_ones_checkpoint(monkeypatch):
    """The folder of checkpoints is named by the key: another key, another folder."""
    params = load_params(HERE / "params.yaml")

    def key():
        closure._digest.cache_clear()
        return steps._key("stage1", {"settings": params.stage1}, params)

    before = key()
    assert key() == before
    real = Path.read_bytes
    for edited, changes in (("ewc.py", True), ("training.py", True), ("page.py", False)):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", lambda path, edited=edited: real(path) + b"#" * (path.name == edited))
            assert (key() != before) == changes, edited
    closure._digest.cache_clear()
    monkeypatch.setattr(steps, "version", lambda name: "0" if name == "transformers" else "1")
    assert key() != before
