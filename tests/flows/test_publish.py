"""Publishing a timeline to a real SQLite store: tiny models, made scores."""

import json
import shutil
import subprocess
import sys
import time

import mlflow
import pytest

from flows.publish import NOTE, publish_timeline
from tasks import artifact
from tasks.errors import BadInput
from tasks.lm.causal import build, save
from tasks.registry import store, versions
from tests.flows.conftest import small_params
from tests.lm.conftest import ROWS, SETTINGS
from tests.scoring.made import made_scores, with_stages, write_evaluation, write_scores

SLICES = ("one", "two")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    for seed, name in enumerate(SLICES):
        model, tokenizer = build(SETTINGS, [row["prompt"] for row in ROWS], seed=seed)
        with artifact.writing(root / "models" / name / "lm") as folder:
            save(model, tokenizer, folder)
        with artifact.writing(root / "models" / name / "retriever") as folder:
            (folder / "metrics.json").write_text("{}")
        with artifact.writing(root / "data/examples" / name) as folder:
            (folder / "raw.json").write_text("{}")
    write_evaluation(root / "reports/evaluation", SLICES)
    (root / "reports/plots").mkdir()
    (root / "reports/plots/kept.png").write_bytes(b"png")
    (root / "reports/timeline.json").write_text("{}")
    (root / "params.yaml").write_text(small_params())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
        patch.chdir(root)
        first = publish_timeline(root)
    return root, first


@pytest.fixture
def root(trained, monkeypatch):
    """Published once; each test leaves the store as it found it, but for versions."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{trained[0] / 'mlflow.db'}")
    monkeypatch.chdir(trained[0])
    yield trained[0]
    write_evaluation(trained[0] / "reports/evaluation", SLICES)


def rewrite(root, **changed):
    scores = with_stages(made_scores(1, SLICES)) | changed
    write_scores(root / "reports/evaluation/two", scores)


def test_every_slice_becomes_a_version_and_the_last_that_is_accepted_champion(root, trained):
    first = trained[1]
    assert (first.published, first.champion, first.reasons, first.warning) == (SLICES, "two", {}, None)
    client = store.connect()
    for name in (*SLICES, "champion"):
        assert versions.find_version(client, name).tags[versions.PASSED_TAG] == "true"
    assert client.get_registered_model("perennial").aliases.keys() == {"champion", "slice-one", "slice-two"}


def test_the_timelines_run_draws_every_metric_over_the_slices_next_to_the_references(root):
    client = store.connect()
    runs = client.search_runs([store.experiment(client, store.TIMELINE)])
    (timeline,) = [run for run in runs if run.info.run_name == versions.TIMELINE_RUN]
    for metric in ("accuracy.one", "naive.accuracy.one"):
        curve = client.get_metric_history(timeline.info.run_id, metric)
        assert [each.step for each in sorted(curve, key=lambda each: each.step)] == [0, 1]
    assert {each.path for each in client.list_artifacts(timeline.info.run_id)} == {"timeline.json", "plots"}


def test_publishing_again_changes_nothing_and_is_known_without_mlflow(root, trained):
    client = store.connect()
    experiment = store.experiment(client, store.TIMELINE)

    def state():
        runs = sorted(run.info.run_id for run in client.search_runs([experiment]))
        return runs, [each.version for each in versions.all_versions(client)], client.get_registered_model("perennial")

    before = state()
    assert publish_timeline(root).published == ()
    (root / NOTE).unlink()
    assert publish_timeline(root).published == ()
    after = state()
    assert (after[0], after[1], after[2].aliases) == (before[0], before[1], before[2].aliases)
    code = (
        "import sys, pathlib, flows.publish as p; print(p.publish_timeline(pathlib.Path('.')), 'mlflow' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert said.endswith("False\n")


def test_a_slice_that_fails_the_gate_is_challenger_and_its_reason_a_tag(root):
    bad = made_scores(1, SLICES)["categories"] | {"retained": 0.1}
    rewrite(root, categories=bad)
    done = publish_timeline(root)
    assert done.champion == "one"
    assert done.reasons["two"].startswith("FAILED: retained 0.100, at least 0.890 asked")
    client = store.connect()
    assert versions.slice_of(client, "champion") == "one"
    challenger = versions.find_version(client, "challenger")
    assert challenger.tags[versions.SLICE_TAG] == "two"
    assert "retained 0.100" in challenger.tags[versions.GATE_TAG]


def test_a_change_in_what_was_measured_is_a_new_version_and_the_challenger_goes(root):
    rewrite(root, rows={"one": 1, "two": 2})
    done = publish_timeline(root)
    assert (done.published, done.champion) == (("two",), "two")
    assert "challenger" not in store.connect().get_registered_model("perennial").aliases


def test_a_version_whose_files_were_lost_is_made_again(root):
    client = store.connect()
    publish_timeline(root)
    before = versions.find_version(client, "one")
    shutil.rmtree(root / "mlruns/perennial/models" / before.source.split("/")[-1])
    (root / NOTE).unlink()
    assert publish_timeline(root).published == ("one",)
    assert versions.find_version(client, "one").version != before.version
    assert mlflow.pyfunc.load_model("models:/perennial@slice-one").predict(["hello"])


def test_a_dead_server_is_a_warning_and_the_next_run_publishes(root, monkeypatch):
    publish_timeline(root)
    here = store.tracking_uri()
    started = time.monotonic()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    done = publish_timeline(root)
    assert time.monotonic() - started < 5
    assert done.warning.startswith("Nothing was published to MLflow: The MLflow server http://127.0.0.1:9 does not")
    assert done.published == ()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", here)
    assert publish_timeline(root).warning is None


def test_what_was_never_trained_is_named(root):
    (root / "models/two").rename(root / "aside")
    try:
        with pytest.raises(BadInput, match="models/two/lm is missing"):
            publish_timeline(root)
    finally:
        (root / "aside").rename(root / "models/two")


def test_a_note_that_was_torn_is_no_note(root):
    (root / NOTE).write_text('{"content":')
    assert publish_timeline(root).warning is None
    assert json.loads((root / NOTE).read_text())["champion"] == "two"
