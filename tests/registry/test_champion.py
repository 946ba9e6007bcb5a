"""Who may move the champion, what a kill leaves, and the folder that it is served from."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest

from tasks import artifact
from tasks.errors import Corrupt
from tasks.registry import champion as champions
from tasks.registry import fetch, history, store, versions
from tests.registry.conftest import registry_in

NAMES = store.Names("made", "us")
WRITES = (
    "set_registered_model_tag",
    "set_registered_model_alias",
    "set_model_version_tag",
    "delete_registered_model_tag",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A registry with three versions of a few bytes each."""
    root = tmp_path_factory.mktemp("champion")
    with registry_in(root) as client:
        champions.claim(client, NAMES)
        for name in ("one", "two", "three"):
            for part in ("lm", "retriever"):
                with artifact.writing(root / "stored" / name / "artifacts" / part) as out:
                    (out / "model.safetensors").write_text(f"{name} {part}")
            sums = [artifact.manifest_sum(root / "stored" / name / "artifacts" / part) for part in ("lm", "retriever")]
            tags = {versions.SLICE_TAG: name, versions.LM_TAG: sums[0], versions.RETRIEVER_TAG: sums[1]}
            client.create_model_version(NAMES.model, source=(root / "stored" / name).as_uri(), tags=tags)
        (root / "mlruns").mkdir(exist_ok=True)
    return root


@pytest.fixture
def client(root, monkeypatch):
    """The first version is champion, and nothing is held."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    monkeypatch.chdir(root)
    client = store.connect()
    for tag in client.get_registered_model(NAMES.model).tags:
        if tag != champions.OWNER_TAG:
            client.delete_registered_model_tag(NAMES.model, tag)
    for number in "123":
        client.delete_model_version_tag(NAMES.model, number, champions.PROMOTED_TAG)
    client.set_registered_model_alias(NAMES.model, "champion", 1)
    client.set_registered_model_tag(NAMES.model, champions.CHOSEN_TAG, "1")
    shutil.rmtree(root / ".perennial/serving", ignore_errors=True)
    shutil.rmtree(root / "models", ignore_errors=True)
    return client


def version(client, number):
    return client.get_model_version(NAMES.model, number)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("call", range(7))
def test_a_promotion_that_is_killed_is_finished_or_never_was_and_is_nobodys_choice(client, monkeypatch, call):
    made = []

    def counted(real):
        def write(*arguments, **named):
            if len(made) == call:
                raise Killed
            made.append(real.__name__)
            return real(*arguments, **named)

        return write

    with monkeypatch.context() as patch:
        for name in WRITES:
            patch.setattr(mlflow.MlflowClient, name, counted(getattr(mlflow.MlflowClient, name)))
        try:
            champions.promote(client, NAMES, version(client, 2))
        except Killed:
            assert call < 6  # it takes six writes
    champions.settle(client, NAMES)
    assert champions.champion(NAMES).version == ("2" if call >= 2 else "1")
    assert champions.is_held(client, NAMES, version(client, 2)) == (call >= 2)  # it was champion then
    assert not champions.is_held(client, NAMES, version(client, 3))
    assert champions.MOVING_TAG not in client.get_registered_model(NAMES.model).tags
    assert [(each.version, each.by) for each in history.changes(client, NAMES)] == [("2", "the gate")] * (call >= 2)


def test_the_history_has_every_change_with_whom_and_why(client, monkeypatch):
    monkeypatch.setattr(history, "person", lambda: "ann@here")
    champions.promote(client, NAMES, version(client, 2), because="accepted against version 1")
    champions.choose(client, NAMES, version(client, 1), "two was rude")
    client.set_registered_model_alias(NAMES.model, "champion", 3)
    champions.settle(client, NAMES)
    client.delete_registered_model_alias(NAMES.model, "champion")
    champions.settle(client, NAMES)
    champions.settle(client, NAMES)
    found = history.reigns(NAMES)
    assert [(each.version, each.slice, each.by, each.because) for each in found] == [
        ("2", "two", "the gate", "accepted against version 1"), ("1", "one", "ann@here", "two was rude"),
        ("3", "three", history.IN_MLFLOW, ""), ("", "", history.IN_MLFLOW, ""),
    ]  # fmt: skip
    assert [each.until for each in found] == [*(each.since for each in found[1:]), None]


def test_a_choice_in_mlflow_is_on_record_once_though_the_run_that_saw_it_was_killed(client, monkeypatch):
    client.set_registered_model_alias(NAMES.model, "champion", 3)
    real, moments = mlflow.MlflowClient.set_registered_model_tag, iter(["2026-01-01", "2026-01-02"])
    monkeypatch.setattr(history, "now", lambda: next(moments))

    def killed(self, name, tag, value):
        if tag == champions.CHOSEN_TAG:
            raise Killed
        return real(self, name, tag, value)

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_registered_model_tag", killed)
        with pytest.raises(Killed):
            champions.settle(client, NAMES)
    champions.settle(client, NAMES)
    assert [(each.version, each.at) for each in history.changes(client, NAMES)] == [("3", "2026-01-01")]


def test_rolled_back_is_to_the_champion_before_and_then_to_the_one_before_that(client):
    for number in (1, 2, 3):
        client.delete_registered_model_alias(NAMES.model, "champion")
        champions.promote(client, NAMES, version(client, number))
    for expected in ("2", "1"):
        before = champions.champion_before(client, NAMES)
        assert str(before.version) == expected
        champions.choose(client, NAMES, before, "worse")
        assert champions.champion(NAMES).version == expected
        assert champions.is_held(client, NAMES, version(client, 3))  # it does not come back by itself
    assert champions.champion_before(client, NAMES) is None


def test_what_an_older_release_left_is_rolled_back_to_as_well(client):
    for number, day in ((1, "2024-01-01"), (2, "2024-03-01"), (3, "2024-02-01")):
        client.set_model_version_tag(NAMES.model, number, champions.PROMOTED_TAG, day)
    client.set_registered_model_alias(NAMES.model, "champion", 2)
    assert str(champions.champion_before(client, NAMES).version) == "3"
    client.set_registered_model_tag(NAMES.model, champions.MOVING_TAG, "2")  # its number alone, and a kill
    champions.settle(client, NAMES)
    assert champions.MOVING_TAG not in client.get_registered_model(NAMES.model).tags
    assert [each.version for each in history.changes(client, NAMES)] == ["2"]


def test_what_a_person_chose_over_what_was_there_stays_and_a_later_version_may_come(client):
    champions.promote(client, NAMES, version(client, 2))
    client.set_registered_model_alias(NAMES.model, "champion", 1)
    champions.settle(client, NAMES)
    assert champions.is_held(client, NAMES, version(client, 3))
    later = client.create_model_version(NAMES.model, source=(Path.cwd() / "stored/three").as_uri())
    assert not champions.is_held(client, NAMES, later)
    client.delete_model_version(NAMES.model, later.version)


def test_the_champion_is_linked_from_where_it_was_made_if_that_is_it(root, client):
    shutil.copytree(root / "stored/one/artifacts", root / "models/one")
    folder = fetch.models_of(champions.champion(NAMES), root)
    (weights,) = [path for path in (folder / "lm").iterdir() if path.name == "model.safetensors"]
    assert weights.samefile(root / "models/one/lm/model.safetensors")
    shutil.rmtree(root / "models/one/lm")  # made anew
    assert (fetch.models_of(champions.champion(NAMES), root) / "lm/model.safetensors").read_text() == "one lm"


@pytest.mark.parametrize("lies_there", ["nothing", "another model", "a rotten one"])
def test_the_champion_is_fetched_where_another_model_has_its_name(root, client, lies_there):
    if lies_there != "nothing":
        shutil.copytree(
            root / "stored" / ("two" if lies_there == "another model" else "one") / "artifacts", root / "models/one"
        )
    if lies_there == "a rotten one":
        (root / "models/one/lm/model.safetensors").write_text("one lM")
    folder = fetch.models_of(champions.champion(NAMES), root)
    assert (folder / "lm/model.safetensors").read_text() == "one lm"
    assert (folder / "retriever/model.safetensors").read_text() == "one retriever"


def test_what_is_served_is_checked_each_time_and_the_last_champions_is_gone(root, client):
    first = fetch.models_of(champions.champion(NAMES), root)
    (first / "lm/model.safetensors").write_text("rotten")
    assert fetch.models_of(champions.champion(NAMES), root) == first
    assert (first / "lm/model.safetensors").read_text() == "one lm"
    champions.promote(client, NAMES, version(client, 2))
    second = fetch.models_of(champions.champion(NAMES), root)
    assert [each.name for each in (root / ".perennial/serving").iterdir()] == [second.name]


def test_other_bytes_than_were_registered_are_refused(root, client):
    champion = champions.champion(NAMES)
    with pytest.raises(Corrupt, match="other bytes than version 1 had"):
        fetch.models_of(SimpleNamespace(**vars(champion) | {"lm": "0" * 64}), root)
    with pytest.raises(store.Unreachable, match="Version 1 can't be had from MLflow"):
        fetch.models_of(SimpleNamespace(**vars(champion) | {"source": (root / "nowhere").as_uri()}), root)


def test_models_may_be_registered_elsewhere(root, client, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{tmp_path / 'registry.db'}")
    there = store.connect()
    assert champions.champion(NAMES) is None
    champions.claim(there, NAMES)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI")
    assert champions.champion(NAMES).version == "1"
