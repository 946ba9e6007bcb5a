"""Stores that are dead, mute, or another project's; runs that a kill left behind."""

import shutil
import socket
import sqlite3
import time

import pytest

from tasks import machine
from tasks.registry import store, versions
from tasks.registry.champion import champion
from tasks.registry.live import Live
from tests.registry.conftest import registry_in

NAMES = store.Names("made", "us")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project whose store exists."""
    root = tmp_path_factory.mktemp("store")
    with registry_in(root) as client:
        store.experiment(client, NAMES.training)
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
    assert champion(NAMES) is None
    assert not list(tmp_path.iterdir())  # asking makes nothing


def test_a_server_that_takes_connections_and_says_nothing_is_given_up(mute_server):
    started = time.monotonic()
    with pytest.raises(store.Unreachable, match="does not answer"):
        store.connect()
    assert time.monotonic() - started < 3


def test_training_goes_on_beside_a_mute_server_and_warns_once(mute_server, capsys):
    for name in ("stage1 2020", "stage1 2021"):
        with Live(name, name, {}, NAMES) as log:
            started = time.monotonic()
            for step in range(1000):
                log(step, {"loss": 1.0})
            assert time.monotonic() - started < 0.3
    assert capsys.readouterr().err.count("Warning") == 1


def test_a_store_that_was_copied_with_its_project_is_not_written_to(project, tmp_path, monkeypatch):
    shutil.copy(project / "mlflow.db", tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(store.Unreachable, match="copied or moved. Delete mlflow.db and mlruns"):
        store.experiment(store.connect(), NAMES.training)


def test_a_database_that_a_kill_left_half_made_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    with sqlite3.connect(tmp_path / "mlflow.db.partial") as database:
        database.execute("create table metrics (key text)")  # on this MLflow's own migration fails
    store.experiment(store.connect(), NAMES.training)
    assert not (tmp_path / "mlflow.db.partial").exists()


def test_a_broken_database_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(b"not a database" * 100)
    with pytest.raises(store.Unreachable, match="mlflow.db can't be opened"):
        store.connect()


@pytest.mark.parametrize(
    ("tags", "age", "status"),
    [
        ({}, 0, "KILLED"),
        ({store.BOOT_TAG: "before"}, 1e10, "KILLED"),  # this host, before it was started again
        ({store.BOOT_TAG: "another host of the same name"}, -3600, "RUNNING"),
        ({store.PLACE_TAG: "elsewhere"}, 0, "RUNNING"),
    ],
)
def test_runs_that_a_kill_left_are_closed_but_not_those_of_another_host_or_folder(project, tags, age, status):
    client = store.connect()
    training = store.experiment(client, NAMES.training)
    started = int((machine.booted_at() - age) * 1000) if age else None
    run_id = client.create_run(training, start_time=started, tags=store.at_work() | tags).info.run_id
    store.end_killed_runs(client, NAMES)
    assert client.get_run(run_id).info.status == status
    client.delete_run(run_id)


def test_two_slices_never_share_an_alias():
    names = ("a.b", "a-b", "a_b", "a.b.", "2021", "v2", "latest")
    assert len({versions.alias_of(name) for name in names}) == len(names)
