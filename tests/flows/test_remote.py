"""A second machine trains nothing that a first one has trained."""

import shutil

import pytest
from dvc_objects.fs.local import LocalFileSystem
from rich.console import Console

from flows import walk
from flows.exchange import pull_timeline, push_timeline
from flows.progress import Progress
from flows.remote import RemoteFailed
from tasks.artifact import manifest_sum
from tasks.errors import BadInput
from tests.flows.conftest import HEADER, all_of, dvc, run, shell

QUIET = Console(quiet=True)


@pytest.fixture
def store(project, tmp_path):
    """A folder that is the project's DVC remote."""
    name_remote(project, tmp_path / "store")
    return tmp_path / "store"


def name_remote(root, place):
    """As `dvc remote add --default store PLACE` does."""
    path = root / ".dvc/config"
    text = path.read_text().replace("[core]\n", "[core]\n    remote = store\n")
    path.write_text(f"{text}['remote \"store\"']\n    url = {place}\n")


def commit(root):
    shell(root, "git", "add", ".")
    shell(root, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "all")


def another_machine(root, monkeypatch):
    """A clone of what is committed, with nothing built."""
    clone = root.parent / "clone"
    shell(root.parent, "git", "clone", "--quiet", str(root), str(clone))
    monkeypatch.chdir(clone)
    return clone


def in_step(root):
    """A run with the DVC remote, as `perennial run --sync` makes it."""
    with walk.opened(root, Progress(QUIET), sync=True) as opened:
        walk.walk(opened)
        walk.send(opened)
    return opened.outcomes


def test_another_machine_pulls_and_finds_nothing_to_train(project, store, monkeypatch):
    run(project)
    assert push_timeline(project).startswith("Pushed ")
    assert push_timeline(project).startswith("Pushed 0 files")
    commit(project)
    clone = another_machine(project, monkeypatch)
    assert pull_timeline(clone, QUIET) == "3 of 3 steps were restored, the others were here. Nothing is left to train."
    assert run(clone) == all_of("cached")
    assert "up to date" in dvc(clone, "status")
    assert shell(clone, "git", "status", "--short") == ""
    assert {path.name for path in store.iterdir()} == {"files", "runs"}
    told = (project / ".perennial/last_run.json").read_bytes()
    assert not [path for path in store.rglob("*") if path.is_file() and path.read_bytes() == told]


@pytest.mark.parametrize("bring", [in_step, lambda root: (pull_timeline(root, QUIET), run(root))[1]])
def test_a_machine_whose_dvc_lock_knows_nothing_finds_it_by_its_inputs(project, store, monkeypatch, bring):
    commit(project)
    assert in_step(project) == all_of("ran")
    clone = another_machine(project, monkeypatch)
    assert bring(clone) == all_of("restored" if bring is in_step else "cached")
    examples = "data/examples/two"
    assert manifest_sum(clone / examples) == manifest_sum(project / examples)
    assert "up to date" in dvc(clone, "status")


def test_pull_leaves_what_the_remote_lacks_as_it_lies(project, store, monkeypatch):
    in_step(project)
    commit(project)
    clone = another_machine(project, monkeypatch)
    (clone / "data/raw/two/facts.csv").write_text(HEADER + "Peru,capital,Quito\n")
    said = pull_timeline(clone, QUIET)
    assert said == "2 of 3 steps were restored, 1 are to be done: `perennial run`. The first is dataset@two."
    run(clone)
    (clone / "data/examples/two/facts.jsonl").write_text("edited")
    (clone / "data/raw/two/facts.csv").write_text(HEADER + "Peru,capital,Puno\n")
    assert "1 are to be done" in pull_timeline(clone, QUIET)
    assert (clone / "data/examples/two/facts.jsonl").read_text() == "edited"


def test_what_is_out_of_date_here_and_made_elsewhere_is_pulled(project, store, monkeypatch):
    in_step(project)
    commit(project)
    clone = another_machine(project, monkeypatch)
    pull_timeline(clone, QUIET)
    for root in (project, clone):
        (root / "data/raw/two/facts.csv").write_text(HEADER + "Peru,capital,Quito\n")
    monkeypatch.chdir(project)
    in_step(project)
    monkeypatch.chdir(clone)
    assert pull_timeline(clone, QUIET).startswith("1 of 3 steps were restored, the others were here")
    assert run(clone) == all_of("cached")


def test_large_data_that_dvc_keeps_comes_along(project, store, monkeypatch):
    (project / ".gitignore").write_text((project / ".gitignore").read_text() + "/data/raw/two/\n")
    dvc(project, "add", "data/raw/two")
    in_step(project)
    commit(project)
    clone = another_machine(project, monkeypatch)
    assert not (clone / "data/raw/two").exists()
    assert "Nothing is left to train" in pull_timeline(clone, QUIET)
    assert (clone / "data/raw/two/facts.csv").exists()


def test_a_rotten_object_of_the_remote_is_made_anew(project, store, monkeypatch):
    in_step(project)
    commit(project)
    for path in (store / "files").rglob("*"):
        if path.is_file() and b"Kathmandu" in path.read_bytes():
            path.chmod(0o644)
            path.write_bytes(path.read_bytes().replace(b"Kathmandu", b"Khatmandu"))
    clone = another_machine(project, monkeypatch)
    assert in_step(clone) == all_of("restored") | {"dataset@two": "ran"}
    assert manifest_sum(clone / "data/examples/two") == manifest_sum(project / "data/examples/two")


def test_a_run_that_did_not_get_there_is_told(project, store):
    run(project)
    store.mkdir()
    (store / "runs").write_text("in the way")
    with pytest.raises(RemoteFailed, match="took only a part, or nothing"):
        push_timeline(project)


def test_params_yaml_can_say_that_each_run_is_in_step(project, store):
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("sync: false", "sync: true"))
    for said, expected in ((None, True), (False, False)):
        with walk.opened(project, Progress(QUIET), sync=said) as opened:
            assert opened.sync == opened.graph.pull == expected


@pytest.mark.parametrize("act", [push_timeline, lambda root: pull_timeline(root, QUIET), in_step])
def test_without_a_remote_the_mend_is_named(project, act):
    with pytest.raises(BadInput, match=r"^This project has no DVC remote\. Name one: `dvc remote add"):
        act(project)


@pytest.mark.parametrize(
    ("url", "kind", "expected"),
    [
        (
            "nowhere/store",
            RemoteFailed,
            "The DVC remote 'store' is not there: .*/nowhere/store. Mount it, or",
        ),
        ("ssh://ann:secret@host/x", BadInput, "The DVC remote can't be used: ssh is supported, but requires 'dvc-ssh'"),
        ("https://host/x", BadInput, "The DVC remote 'store' can't keep which inputs gave which outputs: use a folder"),
    ],
)
def test_a_remote_that_is_of_no_use_is_told(project, url, kind, expected):
    name_remote(project, url)
    for act in (push_timeline, in_step):
        with pytest.raises(kind, match=f"^{expected}") as refused:
            act(project)
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            ConnectionError("https://ann:secret@host did not answer"),
            "does not answer: https://host did not answer",
        ),
        (
            PermissionError(13, "Permission denied", "store"),
            "refuses: .*Permission denied.*Give it the right user or key",
        ),
        (Exception("Unable to locate credentials"), "refuses: Unable to locate credentials. Give it the right user"),
    ],
)
def test_a_remote_that_does_not_answer_or_refuses_is_a_sentence(project, store, monkeypatch, error, expected):
    def fails(self, path, **kwargs):
        if str(path) == str(store):
            raise error
        return real(self, path, **kwargs)

    real = LocalFileSystem.exists
    monkeypatch.setattr(LocalFileSystem, "exists", fails)
    with pytest.raises(RemoteFailed, match=f"^The DVC remote 'store' {expected}"):
        push_timeline(project)


def test_a_push_that_fails_midway_names_the_reason_that_dvc_only_logs(project, store):
    run(project)
    (store / "files").mkdir(parents=True)
    (store / "files/md5").write_text("in the way")
    with pytest.raises(RemoteFailed, match=r"^The DVC remote 'store' took only a part, or nothing: .*Not a directory"):
        push_timeline(project)
    shutil.rmtree(store)
    assert push_timeline(project).startswith("Pushed ")
