"""Stores that are dead, mute, or another project's; runs that a kill left behind."""

import shutil
import socket
import sqlite3
import time

import pytest

from tasks.registry import store, versions
from tasks.registry.live import Live


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project whose store exists."""
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
        patch.chdir(root)
        store.experiment(store.connect(), store.TRAINING)
    return root


@pytest.fixture
def project(made, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{made / 'mlflow.db'}")
    monkeypatch.chdir(made)
    return made


@pytest.fixture
def mute_server(monkeypatch):
    """It takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(store, "ANSWER_SECONDS", 0.3)
        yield


def test_without_a_setting_the_store_lies_in_the_project(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(tmp_path)
    assert store.tracking_uri() == f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert not store.exists()
    assert versions.champion() is None
    assert not list(tmp_path.iterdir())  # asking makes nothing


def test_a_server_that_takes_connections_and_says_nothing_is_given_up(mute_server):
    started = time.monotonic()
    with pytest.raises(store.Unreachable, match="does not answer"):
        store.connect()
    assert time.monotonic() - started < 3


def test_training_goes_on_beside_a_mute_server_and_warns_once(mute_server, capsys):
    for name in ("stage1 2020", "stage1 2021"):
        with Live(name, name, {}) as log:
            started = time.monotonic()
            for step in range(1000):
                log(step, {"loss": 1.0})
            assert time.monotonic() - started < 0.3
    assert capsys.readouterr().err.count("Warning") == 1


def test_a_store_that_was_copied_with_its_project_is_not_written_to(project, tmp_path, monkeypatch):
    shutil.copy(project / "mlflow.db", tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(store.Unreachable, match="copied or moved. Delete mlflow.db and mlruns"):
        store.experiment(store.connect(), store.TRAINING)


def test_a_database_that_a_kill_left_half_made_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    with sqlite3.connect(tmp_path / "mlflow.db.partial") as database:
        database.execute("create table metrics (key text)")  # on this MLflow's own migration fails
    store.experiment(store.connect(), store.TRAINING)
    assert not (tmp_path / "mlflow.db.partial").exists()


def test_a_broken_database_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(b"not a database" * 100)
    with pytest.raises(store.Unreachable, match="mlflow.db can't be opened"):
        store.connect()


def test_runs_that_a_kill_left_are_closed_but_not_those_of_another_folder(project):
    client = store.connect()
    training = store.experiment(client, store.TRAINING)
    ours, others = (
        client.create_run(training, tags={store.FOLDER_TAG: folder}).info.run_id
        for folder in (store.folder(), "elsewhere")
    )
    store.end_killed_runs(client)
    assert client.get_run(ours).info.status == "KILLED"
    assert client.get_run(others).info.status == "RUNNING"


def test_two_slices_never_share_an_alias():
    names = ("a.b", "a-b", "a_b", "a.b.", "2021", "v2", "latest")
    assert len({versions.alias_of(name) for name in names}) == len(names)
