"""Two projects and one real MLflow server, which stores their files, too."""

import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tasks import artifact
from tasks.registry import champion as champions
from tasks.registry import fetch, store, versions

OURS, SAME_NAME, THEIRS = (
    store.Names(*pair) for pair in (("perennial", "us"), ("perennial", "them"), ("other", "them"))
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *options],
        cwd=folder, env={key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        give_up = time.monotonic() + 120
        while time.monotonic() < give_up:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 9)
        process.wait()


@pytest.fixture
def project(server, tmp_path, monkeypatch):
    """A log-in in the address does no harm, and is no address that our own request could read."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:secret@{server}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plots").mkdir()
    return tmp_path


def published(root, names, word):
    for part, file in (("lm", "model.safetensors"), ("retriever", "metrics.json"), ("examples", "raw.json")):
        with artifact.writing(root / part) as folder:
            (folder / file).write_text(word)
    with artifact.writing(root / "evaluation") as folder:
        artifact.write_json(folder / "scores.json", {"accuracy": 0.9})
    parts = {name: root / name for name in ("lm", "retriever", "examples", "evaluation", "plots")}
    client = store.connect()
    champions.claim(client, names)
    champions.settle(client, names)
    return client, versions.publish(client, names, versions.Publication("2020", params={}, tags={}, series={}, **parts))


def test_each_project_has_a_champion_of_its_own_and_takes_nobody_elses(project):
    client, ours = published(project, OURS, "ours")
    champions.promote(client, OURS, ours)
    with pytest.raises(champions.Owned, match=r"belongs to another project .*registry.owner: us"):
        published(project, SAME_NAME, "theirs")
    assert len(versions.all_versions(client, OURS)) == 1
    client, theirs = published(project, THEIRS, "theirs")
    champions.promote(client, THEIRS, theirs)
    for names, word in ((OURS, "ours"), (THEIRS, "theirs")):
        folder = fetch.models_of(champions.champion(names), project)
        assert (folder / "lm/model.safetensors").read_text() == word


def test_published_again_nothing_is_sent_and_what_the_server_lost_is(project, server):
    client, version = published(project, THEIRS, "again")
    assert published(project, THEIRS, "again")[1].version == version.version
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(client.get_logged_model(version.source.split("/")[-1]).artifact_location).delete_artifacts()
    assert published(project, THEIRS, "again")[1].version != version.version


def test_the_log_in_is_never_shown(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@127.0.0.1:9")
    with pytest.raises(store.Unreachable) as away:
        store.connect()
    from tasks.errors import reason_of

    assert "secret" not in reason_of(away.value)
    assert "http://127.0.0.1:9 does not answer" in reason_of(away.value)
