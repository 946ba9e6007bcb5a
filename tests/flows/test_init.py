"""`perennial init`: a project without code of its own, which knows the installed package's and takes up its updates."""

import hashlib
import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from prefect.flows import load_flow_from_entrypoint
from rich.console import Console
from ruamel.yaml import YAML

from flows import commands, starter
from flows.add import add_slice
from flows.init import init_project
from flows.timeline import timeline
from tasks.closure import CODE, ROOT, code_of, refuse_other_code
from tasks.corpus.templates import read_templates
from tasks.errors import BadInput, PerennialError
from tasks.params import load_params
from tests.flows.conftest import FACTS, PROJECT, dvc, run, shell, states

LIGHT = ("dataset@one", "pairs@one")  # stages of a second
PAGES = PROJECT / "tests/questions/pages"


@pytest.fixture
def page():
    return Console(width=200, file=StringIO())


@pytest.fixture
def root(tmp_path, page, monkeypatch):
    """A new project with one slice of two facts."""
    root = tmp_path / "museum"
    init_project(root, [], page)
    monkeypatch.chdir(root)
    added(root, "one")
    return root


def added(root, name):
    folder = root.parent / f"new_{name}"
    folder.mkdir()
    (folder / "facts.csv").write_text(FACTS[name])
    return add_slice(root, name, folder)


def stages(root):
    loaded = YAML(typ="safe").load((root / "dvc.yaml").read_text())["stages"]
    return {name: stage.get("do", stage) for name, stage in loaded.items()}


def edited(root, **changes):
    """code.json as another version of the package would have written it."""
    noted = json.loads((root / CODE).read_text())
    (root / CODE).write_text(json.dumps({**noted, "all": "another", "steps": {**noted["steps"], **changes}}))


def files(root):
    return {
        path: path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not {".git", ".perennial"} & {*path.parts}
    }


def test_the_graph_is_this_repositorys_with_sums_in_the_place_of_modules(root):
    own, ours = stages(root), stages(PROJECT)
    steps = json.loads((root / CODE).read_text())["steps"]
    assert list(own) == list(ours) == list(steps)
    for name, stage in ours.items():
        data = [dep for dep in stage["deps"] if not dep.startswith("tasks/")]
        assert (own[name]["cmd"], own[name]["outs"]) == (stage["cmd"], stage["outs"])
        assert own[name].get("deps", []) == data
        assert own[name]["params"] == [*stage.get("params", []), {CODE: [f"steps.{name}"]}]
    assert len(set(steps.values())) == len(steps)


def test_a_new_projects_questions_are_varied_as_this_repositorys_are(root):
    own, ours = (read_templates(folder / starter.RELATIONS) for folder in (root, PROJECT))
    assert own.everyday == ours.everyday and own.everyday["en"].training
    assert not own.relations and not own.names


def test_a_new_project_runs_adds_and_is_what_dvc_thinks_it_is(root):
    assert run(root, targets=LIGHT) == dict.fromkeys(("settings", "origin", *LIGHT), "ran")
    assert {states(root)[name] for name in (*LIGHT, "origin", "settings")} == {"fresh"}
    assert added(root, "two").startswith("Added two after one")
    assert {states(root)[name] for name in LIGHT} == {"fresh"}
    assert dvc(root, "status", *LIGHT).strip().endswith("up to date.")
    assert list(load_params(root / "params.yaml").timeline) == ["one", "two"]
    passed_over = shell(root, "git", "status", "--short", "--ignored").split("\n")
    assert {"!! .perennial/", "!! data/examples/"} <= set(passed_over)


def test_the_first_slice_is_the_one_that_the_base_is_built_from(tmp_path, page, monkeypatch):
    root = tmp_path / "museum"
    said = init_project(root, ["replay"], page)
    assert said.startswith(f"{root} is a project now") and f"`cd {root}`" in said
    assert load_params(root / "params.yaml", empty=True).stage2.how == "refit"
    monkeypatch.chdir(root)
    with pytest.raises(BadInput, match=r"params.yaml: the timeline is empty. `perennial add SLICE FOLDER` gives it"):
        run(root)
    before = (root / "params.yaml").read_text().splitlines()
    assert add_slice(root, "2024", PAGES).startswith("Added 2024 as the first slice: commit")
    params = load_params(root / "params.yaml")
    assert (list(params.timeline), params.pretrain.slice, params.reference) == (["2024"], "2024", {})
    now = (root / "params.yaml").read_text().splitlines()
    assert {line.split("#")[0].strip() for line in now if line not in before} == {
        "timeline:", '"2024": {previous: base}', 'slice: "2024"',
    }  # fmt: skip


def test_params_without_a_slice_must_name_none_for_the_base(root):
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace('  "one": {previous: base}', "  {}"))
    with pytest.raises(BadInput, match=r"params.yaml: pretrain.slice must be the oldest slice, null"):
        load_params(root / "params.yaml", empty=True)


def test_another_version_is_refused_until_init_takes_it_up(root, page):
    edited(root, pairs="older")
    for refused in (lambda: commands.enter(verbose=False), lambda: refuse_other_code(root)):
        with pytest.raises(BadInput, match=rf"Another version of Perennial is installed than {root / CODE} names"):
            refused()
    step = ["origin", "--relations", "data/raw/relations.yaml", "--out", "o"]
    done = subprocess.run([sys.executable, "-m", "tasks", *step], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("Another version") and not (root / "o").exists()
    (root / "dvc.yaml").write_text(starter.MADE + "stages: {}\n")
    said = init_project(root, [], page)
    assert said == "This folder takes the installed package's code now. `perennial run` does again: pairs."
    assert commands.enter(verbose=False) == root
    assert (
        init_project(root.parent / "museum/../museum", [], page)
        == "This folder is up to date with the installed package."
    )


def test_only_the_steps_whose_code_changed_are_stale(root):
    run(root, targets=LIGHT)
    edited(root, pairs="another")
    found = states(root)
    assert (found["pairs@one"], found["dataset@one"], found["origin"]) == ("stale", "fresh", "fresh")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"all": 3'])
def test_a_spoilt_list_of_sums_is_another_version(root, page, text):
    (root / CODE).write_text(text)
    with pytest.raises(BadInput, match="Another version"):
        refuse_other_code(root)
    assert "does again: settings, origin" in init_project(root, [], page)
    refuse_other_code(root)


def test_a_command_that_was_killed_is_given_again(root, page):
    """Whatever was not written yet, and whatever a person wrote since."""
    (root / "params.yaml").write_text((root / "params.yaml").read_text().replace("seed: 20 ", "seed: 21 "))
    (root / "README.md").write_text("Ours.\n")
    before = files(root)
    for name in (CODE, "requirements.txt", ".dvc/config", "data/raw/topics/en.yaml"):
        (root / name).unlink()
    init_project(root, [], page)
    assert files(root) == before


def test_an_update_brings_nothing_back_and_pins_the_new_versions(root, page):
    (root / "data/raw/topics/ko.yaml").unlink()
    (root / ".gitignore").write_text("mine\n")
    lines = (root / "requirements.txt").read_text().splitlines()
    assert lines[0].startswith("perennial-llm==") and not any("+" in line for line in lines)
    (root / "requirements.txt").write_text("perennial-llm==0.0.1\nmine>=2  # own\ntorch==1.0\n")
    edited(root)
    init_project(root, [], page)
    assert not (root / "data/raw/topics/ko.yaml").exists() and (root / ".gitignore").read_text() == "mine\n"
    assert (root / "requirements.txt").read_text().splitlines() == [*lines, "mine>=2  # own"]


def test_the_deployments_flow_is_the_packages(root):
    (entry,) = YAML(typ="safe").load((root / "prefect.yaml").read_text())["deployments"]
    assert load_flow_from_entrypoint(entry["entrypoint"]).name == timeline.name


def test_what_lies_there_stays_and_git_passes_over_what_is_built(tmp_path, page):
    shell(tmp_path, "git", "init", "--quiet")  # the project is a folder of a larger repository
    folder = tmp_path / "museum"
    folder.mkdir()
    (folder / ".gitignore").write_text("mine\n/models/")
    (folder / "notes.md").write_text("Mine.\n")
    init_project(folder, [], page)
    lines = (folder / ".gitignore").read_text().splitlines()
    assert lines[:2] == ["mine", "/models/"] and lines.count("/models/") == 1
    assert set(lines) >= set((PROJECT / ".gitignore").read_text().splitlines())
    assert (folder / "notes.md").read_text() == "Mine.\n" and not (folder / ".git").exists()
    dvc(folder, "status")


def test_what_can_be_no_project_is_left_as_it_is(tmp_path, page):
    other = tmp_path / "other"
    other.mkdir()
    (other / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "file").write_text("x")
    for folder, presets, sentence in (
        (PROJECT, [], f"{PROJECT} has Perennial's own code"),
        (other, [], f"{other / 'dvc.yaml'} is of another project"),
        (tmp_path / "file", [], f"{tmp_path / 'file'} can't be made a project (File exists)"),
        (tmp_path / "new", ["huge"], "There is no preset 'huge'. Known: small, "),
    ):
        before = files(tmp_path)
        with pytest.raises(PerennialError) as refused:
            init_project(folder, presets, page)
        assert str(refused.value).startswith(sentence)
        assert files(tmp_path) == before
    assert not (tmp_path / "new").exists()


def test_the_sums_are_of_the_code_that_the_steps_run_through():
    """dvc.yaml's lists, which the sums are of, have all that a step imports (tests/test_closure.py)."""
    noted = json.loads(starter.code())
    assert noted["steps"]["report"] != noted["steps"]["evaluate"]
    assert {ROOT / "report.py"} <= set(code_of("tasks.report"))
    deps = [ROOT.parent / dep for dep in stages(PROJECT)["report"]["deps"] if dep.startswith("tasks/")]
    modules = sorted(path for dep in deps for path in (dep.rglob("*.py") if dep.is_dir() else [dep]))
    lines = [f"{path.relative_to(ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in modules]
    assert noted["steps"]["report"] == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_wheel_has_all_that_a_new_project_needs(tmp_path):
    """Built, installed into an environment of its own, and used from there."""
    for name in ("flows", "tasks", "presets", "data/raw", "data/canary", ".dvc"):
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shell(tmp_path, "cp", "-r", f"{PROJECT / name}", f"source/{name}")
    for path in PROJECT.iterdir():
        if path.is_file():
            shell(tmp_path, "cp", f"{path}", "source")
    shell(tmp_path, sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir",
          "wheels", "./source")  # fmt: skip
    (wheel,) = (tmp_path / "wheels").iterdir()
    shell(tmp_path, sys.executable, "-m", "venv", "--without-pip", "own")
    python = tmp_path / "own/bin/python"
    (site,) = (tmp_path / "own/lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n")
    shell(tmp_path, sys.executable, "-m", "pip", "--python", f"{python}", "install", "--quiet", "--no-deps",
          "--ignore-installed", f"{wheel}")  # fmt: skip

    def perennial(folder, *words):
        clean = ["env", "--unset=PYTHONPATH", f"PATH={python.parent}:/usr/bin:/bin", "perennial"]
        return shell(folder, *clean, *words)

    assert "is a project now" in perennial(tmp_path, "init", "museum")
    root = tmp_path / "museum"
    assert "107 facts" in perennial(root, "add", "2024", f"{PAGES}")
    assert "smollm2-135m" in perennial(root, "presets")
    assert "retriever" in perennial(root, "status")
    shell(root, "env", "--unset=PYTHONPATH", f"{python}", "-m", "tasks", "settings", "--params", "params.yaml", "--out",
          "data/settings.json")  # fmt: skip
    noted = json.loads((root / CODE).read_text())
    assert noted["steps"] == json.loads(starter.code())["steps"]
