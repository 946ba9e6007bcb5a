"""The bridge: what runs, what is recorded, and that DVC agrees."""

import shutil

import pytest
import yaml

from flows import update
from flows.update import InputsChanged
from tasks.artifact import file_sum
from tasks.errors import BadInput
from tasks.params import load_params
from tests.flows.conftest import HEADER, PROJECT, all_of, dvc, run, shell, states

NEWER = HEADER + "Peru,capital,Quito\n"


def during(monkeypatch, step, action):
    """Let `action` happen while a step runs in this process."""
    real = update.run_step

    def run_step(arguments, log=None):
        real(arguments, log)
        if step in arguments:
            action()

    monkeypatch.setattr(update, "run_step", run_step)


def recorded(root):
    return set(yaml.safe_load((root / "dvc.lock").read_text())["stages"])


def test_after_a_run_dvc_has_nothing_to_do_and_neither_has_a_second_run(project):
    assert run(project) == all_of("ran")
    assert "up to date" in dvc(project, "status")
    assert "Running" not in dvc(project, "repro")
    assert run(project) == all_of("cached")


def test_after_dvc_repro_a_run_finds_nothing_to_do(project):
    dvc(project, "repro")
    assert run(project) == all_of("cached")


def test_both_drivers_give_the_same_bytes_and_the_same_record(project):
    run(project)
    manifest, lock = file_sum(project / "data/examples/two/manifest.json"), (project / "dvc.lock").read_text()
    for built in ("data/examples", ".dvc/cache"):
        shutil.rmtree(project / built)
    (project / "dvc.lock").unlink()
    dvc(project, "repro")
    assert file_sum(project / "data/examples/two/manifest.json") == manifest
    assert yaml.safe_load((project / "dvc.lock").read_text()) == yaml.safe_load(lock)


def test_what_ran_once_is_restored_when_it_is_lost(project):
    run(project)
    manifest = file_sum(project / "data/examples/two/manifest.json")
    shutil.rmtree(project / "data/examples")
    (project / "dvc.lock").unlink()
    assert run(project) == all_of("restored")
    assert file_sum(project / "data/examples/two/manifest.json") == manifest
    assert "up to date" in dvc(project, "status")


def test_new_data_is_run_and_never_taken_from_the_run_cache(project):
    run(project)
    manifest = file_sum(project / "data/examples/two/manifest.json")
    (project / "data/raw/two/facts.csv").write_text(NEWER)
    assert run(project) == all_of("cached") | {"dataset@two": "ran"}
    assert file_sum(project / "data/examples/two/manifest.json") != manifest


def test_old_data_put_back_is_restored(project):
    run(project)
    old = (project / "data/raw/two/facts.csv").read_text()
    (project / "data/raw/two/facts.csv").write_text(NEWER)
    run(project)
    (project / "data/raw/two/facts.csv").write_text(old)
    assert run(project) == all_of("cached") | {"dataset@two": "restored"}


def test_an_output_that_was_tampered_with_is_put_right(project):
    run(project)
    (project / "data/examples/two/facts.jsonl").write_text("")
    assert run(project) == all_of("cached") | {"dataset@two": "restored"}


@pytest.mark.parametrize("isolated", [False, True])
def test_a_parameter_edited_while_a_stage_runs_is_not_recorded_as_its_own(project, monkeypatch, isolated):
    def edit():
        path = project / "params.yaml"
        path.write_text(path.read_text().replace("languages: [en, ko]", "languages: [en]"))

    if isolated:
        real = update.run_isolated
        monkeypatch.setattr(
            update, "run_isolated", lambda argv, *rest: (real(argv, *rest), "dataset" in argv and edit())
        )
    else:
        during(monkeypatch, "dataset", edit)
    with pytest.raises(InputsChanged, match=r"dataset@one is not recorded: params.yaml was edited"):
        run(project, isolated=isolated)
    assert recorded(project) == {"origin"}
    monkeypatch.undo()
    monkeypatch.chdir(project)
    assert run(project) == all_of("ran") | {"origin": "cached"}
    assert "up to date" in dvc(project, "status")


def test_a_stage_that_a_newer_version_makes_of_one_more_file_is_run_and_recorded(project):
    run(project)
    graph = project / "dvc.yaml"
    graph.write_text(graph.read_text().replace("tasks/origin.py]", "tasks/origin.py, tasks/corpus/text.py]"))
    assert run(project) == all_of("cached") | {"origin": "ran"}
    assert "up to date" in dvc(project, "status")


def test_data_edited_while_a_stage_runs_is_not_recorded_as_its_own(project, monkeypatch):
    during(monkeypatch, "data/raw/two", lambda: (project / "data/raw/two/facts.csv").write_text(NEWER))
    with pytest.raises(InputsChanged, match="data/raw/two was edited"):
        run(project)
    assert recorded(project) == {"origin", "dataset@one"}
    assert states(project)["dataset@two"] == "stale"


def test_a_module_edited_after_it_was_imported_runs_in_a_process_that_reads_it_anew(project, monkeypatch):
    isolated = []
    real = update.run_isolated
    monkeypatch.setattr(update, "run_isolated", lambda argv, *rest: (isolated.append(argv[0]), real(argv, *rest)))
    path = project / "tasks/dataset.py"
    during(monkeypatch, "origin", lambda: path.write_text(path.read_text() + "\n# edited\n"))
    assert run(project) == all_of("ran")
    assert isolated == ["dataset", "dataset"]


def test_a_failed_stage_leaves_the_earlier_recorded_and_the_later_stale(project):
    run(project)
    (project / "data/raw/one/facts.csv").write_text(HEADER + "Peru,capital\n")
    with pytest.raises(BadInput, match="facts.csv, line 2"):
        run(project)
    assert recorded(project) == {"origin", "dataset@one", "dataset@two"}  # as they were
    assert states(project) == {"origin": "fresh", "dataset@one": "missing", "dataset@two": "stale"}


def test_a_stage_behind_a_stale_one_is_stale(project):
    assert states(project) == dict.fromkeys(states(project), "missing")
    run(project)
    assert states(project) == dict.fromkeys(states(project), "fresh")
    (project / "data/raw/one/facts.csv").write_text(NEWER)
    assert states(project) == {"origin": "fresh", "dataset@one": "stale", "dataset@two": "stale"}


def test_a_target_brings_only_what_it_needs(project):
    assert run(project, targets=("dataset@one",)) == {"origin": "ran", "dataset@one": "ran"}
    with pytest.raises(BadInput, match="nonsense"):
        run(project, targets=("nonsense",))


def test_a_process_of_its_own_gives_the_same_bytes_and_the_same_sentences(project):
    run(project)
    manifest = file_sum(project / "data/examples/two/manifest.json")
    for built in ("data/examples", ".dvc/cache"):
        shutil.rmtree(project / built)
    assert run(project, isolated=True) == all_of("ran")
    assert file_sum(project / "data/examples/two/manifest.json") == manifest
    (project / "data/raw/one/facts.csv").write_text(HEADER + "Peru,capital\n")
    with pytest.raises(BadInput, match="facts.csv, line 2"):
        run(project, isolated=True)


def test_data_that_dvc_keeps_is_part_of_the_graph(project):
    dvc(project, "add", "data/raw/two")
    assert run(project) == all_of("ran") | {"data/raw/two.dvc": "cached"}
    (project / "data/raw/two/facts.csv").write_text(NEWER)
    assert run(project) == all_of("cached") | {"data/raw/two.dvc": "ran", "dataset@two": "ran"}
    assert "up to date" in dvc(project, "status")


def test_a_copy_without_git_runs_as_well(project):
    shutil.rmtree(project / ".git")
    assert run(project) == all_of("ran")


def test_a_broken_dvc_yaml_is_named(project):
    (project / "dvc.yaml").write_text("stages: [")
    with pytest.raises(BadInput, match="dvc.yaml"):
        run(project)


@pytest.mark.parametrize("name", ["dvc.lock", "dvc.yaml", "data/raw/two.dvc", "params.yaml"])
def test_a_merge_that_was_not_finished_is_told_by_file_line_and_mend(project, name):
    dvc(project, "add", "data/raw/two")
    run(project)
    lines = (project / name).read_text().splitlines(keepends=True)
    sides = ["<<<<<<< HEAD\n", lines[2], "=======\n", "# theirs\n", lines[2], ">>>>>>> theirs\n"]
    (project / name).write_text("".join([*lines[:2], *sides, *lines[3:]]))
    with pytest.raises(BadInput) as refused:
        load_params()
        run(project)
    mend = "Take one side whole (`git checkout --ours dvc.lock`)" if name == "dvc.lock" else "Keep one side"
    assert str(refused.value).startswith(f"{name}, line 3: git left the two sides of a merge here. {mend}")


@pytest.mark.parametrize("name", ["dvc.lock", "data/raw/two.dvc"])
def test_a_file_of_dvcs_that_is_no_yaml_is_named_with_its_line(project, name):
    dvc(project, "add", "data/raw/two")
    run(project)
    (project / name).write_text((project / name).read_text() + "\n  - [")
    with pytest.raises(BadInput, match=rf"^{name}, line \d+: "):
        run(project)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", None])
def test_a_lock_that_is_none_is_told_with_the_mend(project, content):
    if content is None:
        (project / "dvc.lock").mkdir()
    else:
        (project / "dvc.lock").write_bytes(content)
    with pytest.raises(BadInput, match=r"^dvc\.lock.* Restore it \(`git checkout dvc\.lock`\), or move it away"):
        run(project)


@pytest.mark.parametrize("content", ["", "# nothing\n", "stages: {}\n"])
def test_a_graph_without_stages_is_told_with_the_mend(project, content):
    (project / "dvc.yaml").write_text(content)
    with pytest.raises(BadInput, match=r"^dvc\.yaml has no stages\. Restore it"):
        run(project)


def test_a_fresh_clone_needs_no_init(project, tmp_path, monkeypatch):
    run(project)
    shell(project, "git", "add", ".")
    shell(project, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "all")
    shell(tmp_path, "git", "clone", "--quiet", str(project), "clone")
    monkeypatch.chdir(tmp_path / "clone")
    assert run(tmp_path / "clone") == all_of("ran")
    assert shell(tmp_path / "clone", "git", "status", "--short") == ""  # the same dvc.lock, and nothing left about


def test_dvc_sees_every_step_of_every_slice():
    """DVC drops a whole group without a word when its keys are bare numbers."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    expected = {
        f"{step}@{name}" if over else step
        for step, stage in stages.items()
        for over in [stage.get("foreach", "").strip("${}")]
        for name in (params[over] if over else [None])
    }
    assert set(dvc(PROJECT, "stage", "list", "--name-only").split()) == expected


@pytest.mark.parametrize("torn", ["", '{"read": {"a": [{"pid": 1'])
def test_a_list_of_dvcs_file_locks_that_a_kill_tore_is_mended(project, torn):
    run(project)
    (project / ".dvc/tmp/rwlock").write_text(torn)
    assert run(project) == all_of("cached")
