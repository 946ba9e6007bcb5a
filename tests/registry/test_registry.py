"""The registry on a real SQLite store, with a tiny model."""

import io
import json
import time
import warnings

import mlflow
import pytest
from rich.console import Console

from tasks import artifact
from tasks.errors import BadInput, Corrupt
from tasks.lm.causal import build, load, save
from tasks.lm.generate import answer
from tasks.registry import champion as champions
from tasks.registry import served, store, versions
from tasks.registry.compare import print_comparison
from tasks.registry.live import Live
from tests.lm.conftest import ROWS, SETTINGS
from tests.registry.conftest import registry_in

NAMES = store.Names("made", "us")


def scores(name):
    return {
        "slice": name,
        "model": {"accuracy": {name: 0.9}},
        "categories": {"new": 0.9, "updated": None},
        "samples": [{"prompt": ROWS[0]["prompt"], "expected": "Ada", "answer": "Ada"}],
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("registry")
    for seed, name in enumerate(("2020", "2021")):
        model, tokenizer = build(SETTINGS, [row["prompt"] for row in ROWS], seed=seed)
        with artifact.writing(root / "models" / name / "lm") as folder:
            save(model, tokenizer, folder)
        add_retriever(root, name)
        measure(root, name)
    (root / "plots").mkdir()
    (root / "plots/kept.png").write_bytes(b"png")
    with artifact.writing(root / "examples") as folder:
        (folder / "raw.json").write_text("{}")
    return root


def add_retriever(root, name, metrics="{}"):
    with artifact.writing(root / "models" / name / "retriever") as folder:
        (folder / "metrics.json").write_text(metrics)


def measure(root, name, **changed):
    with artifact.writing(root / "evaluation" / name) as folder:
        artifact.write_json(folder / "scores.json", scores(name) | changed)


@pytest.fixture(scope="module")
def client(root):
    with registry_in(root) as client:
        champions.claim(client, NAMES)
        yield client


def publication(root, name):
    return versions.Publication(
        name=name, lm=root / "models" / name / "lm", retriever=root / "models" / name / "retriever",
        examples=root / "examples", evaluation=root / "evaluation" / name, params={"seed": 1}, tags={"git.commit": "x"},
        series={"new": [(2020, 0.8), (2021, 0.9)]}, plots=root / "plots", provenance={"dvc.lock": "stages: {}"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def published(root, client):
    made = {}
    for name in ("2020", "2021"):
        made[name] = versions.publish(client, NAMES, publication(root, name))
        versions.set_alias(client, NAMES, versions.alias_of(name), made[name])
    champions.promote(client, NAMES, made["2021"])
    return made


def test_publishing_again_changes_nothing(root, client, published):
    again = versions.publish(client, NAMES, publication(root, "2020"))
    assert again.version == published["2020"].version
    assert len(versions.all_versions(client, NAMES)) == 2
    experiment = store.experiment(client, NAMES.timeline)
    assert len(client.search_runs([experiment])) == 2


def test_a_slice_is_found_by_name_alias_and_number(client, published):
    for name in ("2021", "slice-2021", "champion", str(published["2021"].version)):
        assert versions.find_version(client, NAMES, name).tags[versions.SLICE_TAG] == "2021"
    assert str(champions.champion(NAMES)) == "2021 (version 2)"
    with pytest.raises(BadInput, match="no model for '1999'. Published slices: 2020, 2021"):
        versions.find_version(client, NAMES, "1999")


def test_the_stored_model_answers_as_the_folder_does_and_holds_no_pickle(root, client, published, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    loaded = mlflow.pyfunc.load_model("models:/made@champion")
    model, tokenizer = load(root / "models/2021/lm")
    asked = [row["prompt"] for row in ROWS[:2]]
    assert loaded.predict(asked) == [answer(model, tokenizer, each) for each in asked]
    assert not list((root / "mlruns").rglob("*.pkl"))


@pytest.fixture
def asked(root, published, monkeypatch):
    """Questions, and what the model of 2021 says to them."""
    model, tokenizer = load(root / "models/2021/lm")
    questions = [row["prompt"] for row in ROWS[:3]]
    shown = [{"prompt": each, "expected": "", "answer": answer(model, tokenizer, each)} for each in questions]
    monkeypatch.setattr(served, "measured_of", lambda version, file: {"samples": shown})
    return shown


def test_a_version_is_asked_as_a_server_would_have_it_and_one_that_can_not_be_loaded_is_refused(root, published, asked):
    version = published["2021"]
    served.refuse_unservable(version, 4)
    (weights,) = (root / "mlruns/made/models" / version.source.split("/")[-1]).rglob("lm/model.safetensors")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(Corrupt, match="Version 2 .2021. does not become champion: as MLflow .* can't be served"):
        served.refuse_unservable(version, 4)
    weights.write_bytes(whole)


@pytest.mark.parametrize(("otherwise", "refused"), [(0, False), (1, False), (2, True), (3, True)])
def test_one_that_answers_otherwise_than_was_measured_is_refused(published, asked, monkeypatch, otherwise, refused):
    said = [each["answer"] for each in asked[otherwise:]]
    monkeypatch.setattr(served, "answers_of", lambda source, questions: ["so so"] * otherwise + said)
    if refused:
        with pytest.raises(Corrupt, match=f"it answers {3 - otherwise} of 3 questions as it was measured"):
            served.refuse_unservable(published["2021"], 4)
        served.refuse_unservable(published["2021"], 0)  # it is not asked
    else:
        served.refuse_unservable(published["2021"], 4)


def test_the_run_has_metrics_series_plots_and_hashes(root, client, published):
    run = client.get_run(published["2021"].run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["model.accuracy.2021"] == 0.9
    curve = client.get_metric_history(run.info.run_id, "timeline.new")
    assert [(each.step, each.value) for each in curve] == [(2020, 0.8), (2021, 0.9)]
    (used,) = run.inputs.dataset_inputs
    assert artifact.manifest_sum(root / "examples").startswith(used.dataset.digest)
    assert run.data.params["seed"] == "1"
    assert run.data.tags["git.commit"] == "x"
    there = {each.path for each in client.list_artifacts(run.info.run_id)}
    assert there >= {"scores.json", "plots", "dataset", "made_from"}


def test_a_run_that_a_kill_left_without_a_version_is_replaced_and_nobody_is_warned(root, client, published, recwarn):
    model, tokenizer = build(SETTINGS, [row["prompt"] for row in ROWS], seed=7)
    with artifact.writing(root / "models/2022/lm") as folder:
        save(model, tokenizer, folder)
    add_retriever(root, "2022")
    measure(root, "2022")
    experiment = store.experiment(client, NAMES.timeline)
    tags = {versions.CONTENT_TAG: publication(root, "2022").measured}
    left = client.create_run(experiment, run_name="2022", tags=tags)
    warnings.onceregistry.clear()
    versions.publish(client, NAMES, publication(root, "2022"))
    runs = {run.info.run_id: run for run in client.search_runs([experiment])}
    assert left.info.run_id not in runs
    assert not [each for each in recwarn if "mlflow" in str(each.filename)]
    assert all(run.info.status == "FINISHED" for run in runs.values())


def test_two_slices_are_compared_with_every_metric_and_answers(client, published):
    console = Console(width=120, record=True, file=io.StringIO())
    print_comparison(console, NAMES, "2020", "champion")
    text = console.export_text()
    for part in ("model.accuracy.2020", "model.accuracy.2021", "0.9000", "+0.0000", ROWS[0]["prompt"], "Ada"):
        assert part in text


@pytest.mark.parametrize("name", ["2021", "spring.2021", "v2", "latest", "a_b-c"])
def test_every_slice_name_has_an_alias_that_mlflow_takes(client, published, name):
    versions.set_alias(client, NAMES, versions.alias_of(name), published["2021"])
    assert versions.find_version(client, NAMES, name).version == published["2021"].version


def training_runs(client):
    return client.search_runs([store.experiment(client, NAMES.training)])


def test_what_is_logged_is_seen_while_the_step_runs(client):
    with Live("stage1 2021", "key-live", {}, NAMES) as log:
        log(1, {"loss": 2.0})
        deadline = time.monotonic() + 20
        seen = []
        while not seen and time.monotonic() < deadline:
            seen = [run for run in training_runs(client) if run.data.metrics.get("loss") == 2.0]
            time.sleep(0.1)
        assert seen
        log(2, {"loss": 1.0})
    history = client.get_metric_history(seen[0].info.run_id, "loss")
    assert [(each.step, each.value) for each in history] == [(1, 2.0), (2, 1.0)]
    assert client.get_run(seen[0].info.run_id).info.status == "FINISHED"


def test_a_step_that_a_kill_left_running_goes_on_in_its_run(client):
    training = store.experiment(client, NAMES.training)
    left = client.create_run(training, run_name="stage1 2022", tags={"perennial.key": "key-left"})
    with Live("stage1 2022", "key-left", {}, NAMES) as log:
        log(5, {"loss": 0.5})
    assert client.get_run(left.info.run_id).info.status == "FINISHED"
    assert client.get_run(left.info.run_id).data.metrics["loss"] == 0.5


def test_a_failed_step_is_marked_as_failed(client):
    with pytest.raises(ValueError, match="boom"), Live("stage1 x", "key-failed", {}, NAMES):
        raise ValueError("boom")
    (run,) = [run for run in training_runs(client) if run.data.tags["perennial.key"] == "key-failed"]
    assert run.info.status == "FAILED"


def test_a_dead_server_costs_a_warning_and_no_run(monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with Live("stage1 2021", "key", {}, NAMES) as log:
        for step in range(20_000):  # more than the queue holds
            log(step, {"loss": 1.0})
    assert "Warning: stage1 2021 is not seen live in MLflow" in capsys.readouterr().err
    with pytest.raises(store.Unreachable, match="does not answer"):
        champions.champion(NAMES)


def test_a_model_that_mlflow_stored_wrongly_is_refused(root, client, monkeypatch):
    from tasks.errors import Corrupt

    model, tokenizer = build(SETTINGS, [row["prompt"] for row in ROWS], seed=9)
    with artifact.writing(root / "models/2023/lm") as folder:
        save(model, tokenizer, folder)
    add_retriever(root, "2023")
    measure(root, "2023")
    whole = publication(root, "2023")
    register = mlflow.pyfunc.log_model

    def truncate(**arguments):
        logged = register(**arguments)
        for path in (root / "mlruns").rglob(f"{logged.model_id}/artifacts/artifacts/lm/config.json"):
            path.write_text(json.dumps({}))
        return logged

    monkeypatch.setattr(mlflow.pyfunc, "log_model", truncate)
    with pytest.raises(Corrupt, match=r"config.json was changed"):
        versions.publish(client, NAMES, whole)
    with pytest.raises(BadInput):
        versions.find_version(client, NAMES, "slice-2023")
