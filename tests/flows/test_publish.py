"""Publishing a timeline to a real SQLite store: tiny models, made scores."""

import io
import shutil
import time

import mlflow
import pytest
from rich.console import Console

from flows.promote import print_history, promote_version, roll_back
from flows.publish import NotAccepted, NotPublished, publish_timeline
from tasks import artifact
from tasks.errors import BadInput, Corrupt
from tasks.lm.causal import build, save
from tasks.registry import champion as champions
from tasks.registry import store, versions
from tasks.scoring.gate import decide
from tasks.scoring.verdict import verdict_in
from tests.flows.conftest import small_params
from tests.lm.conftest import ROWS, SETTINGS
from tests.scoring.made import made_scores, with_stages, write_evaluation, write_scores

SLICES = ("one", "two")
NAMES = store.Names("perennial", "us")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, servable):
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
    (root / "params.yaml").write_text(small_params().replace("owner: null", "owner: us"))
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


def retrain(root, name, seed):
    model, tokenizer = build(SETTINGS, [row["prompt"] for row in ROWS], seed=seed)
    with artifact.writing(root / "models" / name / "lm") as folder:
        save(model, tokenizer, folder)


def rewrite(root, **changed):
    scores = with_stages(made_scores(1, SLICES)) | changed
    write_scores(root / "reports/evaluation/two", scores)


def test_every_slice_becomes_a_version_and_the_last_that_is_accepted_champion(root, trained):
    first = trained[1]
    assert (first.published, str(first.champion), first.problem) == (SLICES, "two (version 2)", None)
    assert [each["decision"] for each in first.decisions.values()] == ["accepted", "accepted"]
    client = store.connect()
    for name in (*SLICES, "champion"):
        assert versions.find_version(client, NAMES, name).tags[champions.DECISION_TAG] == "true"
    assert client.get_registered_model("perennial").aliases.keys() == {"champion", "slice-one", "slice-two"}


def test_the_timelines_run_draws_every_metric_over_the_slices_next_to_the_references(root):
    client = store.connect()
    runs = client.search_runs([store.experiment(client, NAMES.timeline)])
    (timeline,) = [run for run in runs if run.info.run_name == versions.TIMELINE_RUN]
    for metric in ("accuracy.one", "naive.accuracy.one"):
        curve = client.get_metric_history(timeline.info.run_id, metric)
        assert [each.step for each in sorted(curve, key=lambda each: each.step)] == [0, 1]
    assert {each.path for each in client.list_artifacts(timeline.info.run_id)} == {"timeline.json", "plots"}


def test_publishing_again_changes_nothing(root):
    client = store.connect()
    experiment = store.experiment(client, NAMES.timeline)

    def state():
        runs = sorted(run.info.run_id for run in client.search_runs([experiment]))
        tags = [(each.version, each.tags) for each in versions.all_versions(client, NAMES)]
        return runs, tags, client.get_registered_model("perennial").tags, versions.aliases_of(client, NAMES)

    before = state()
    assert publish_timeline(root).published == ()
    assert state() == before


def test_a_slice_that_fails_the_gate_is_challenger_and_its_reason_a_tag(root):
    client = store.connect()
    before = champions.champion(NAMES)
    retrain(root, "two", 7)
    bad = made_scores(1, SLICES)["categories"] | {"new": 0.1}
    rewrite(root, categories=bad)
    done = publish_timeline(root)
    assert done.champion == before
    assert isinstance(done.problem, NotAccepted)
    assert "two was not accepted" in str(done.problem)
    assert "new facts 0.100" in str(done.problem)
    verdict = verdict_in(done.decisions["two"])
    assert verdict.told("FAILED") in str(done.problem)
    challenger = versions.find_version(client, NAMES, "challenger")
    assert challenger.tags[versions.SLICE_TAG] == "two"
    assert "new facts 0.100" in challenger.tags[champions.GATE_TAG]


def test_what_is_measured_anew_stays_the_version_and_is_judged_again(root):
    publish_timeline(root)
    client = store.connect()
    before = versions.find_version(client, NAMES, "two")
    rewrite(root, rows={"one": 1, "two": 2})
    done = publish_timeline(root)
    assert done.published == ()
    after = versions.find_version(client, NAMES, "two")
    assert after.version == before.version
    assert after.tags[versions.SCORES_RUN_TAG] != before.tags[versions.SCORES_RUN_TAG]
    assert versions.measured_of(after, versions.SCORES)["rows"] == {"one": 1, "two": 2}
    verdicts = [tag for tag in after.tags if tag.startswith(f"{champions.VERDICT_TAG}.")]
    assert len(verdicts) == 1 + len([tag for tag in before.tags if tag.startswith(f"{champions.VERDICT_TAG}.")])


def test_other_settings_of_the_gate_judge_the_newest_again_if_it_was_refused_and_no_other(root):
    client = store.connect()
    retrain(root, "two", 8)
    rewrite(root, categories=made_scores(1, SLICES)["categories"] | {"new": 0.5})
    assert publish_timeline(root).decisions["two"]["decision"] == "refused"
    old = versions.find_version(client, NAMES, "one").tags
    params = (root / "params.yaml").read_text()
    try:
        (root / "params.yaml").write_text(params.replace("new_floor: 0.8", "new_floor: 0.4"))
        done = publish_timeline(root)
        number = versions.find_version(client, NAMES, "two").version
        assert (done.decisions["two"]["decision"], done.champion.version) == ("accepted", str(number))
        (root / "params.yaml").write_text(params.replace("new_floor: 0.8", "new_floor: 0.999"))
        assert publish_timeline(root).champion.version == str(number)  # history is not judged again
    finally:
        (root / "params.yaml").write_text(params)
    assert versions.find_version(client, NAMES, "one").tags == old


def test_a_champion_that_a_person_took_back_stays_until_a_new_version_is_better(root):
    publish_timeline(root)
    client = store.connect()
    older = versions.find_version(client, NAMES, "one")
    client.set_registered_model_alias("perennial", "champion", older.version)  # as on MLflow's page
    for _ in range(2):
        assert publish_timeline(root).champion.version == str(older.version)
    rewrite(root, rows={"one": 3, "two": 4})  # measured anew, and judged anew
    assert publish_timeline(root).champion.version == str(older.version)
    retrain(root, "two", 9)
    assert publish_timeline(root).champion.name == "two"


def test_a_person_promotes_with_a_reason_that_is_kept(root):
    publish_timeline(root)
    older = versions.find_version(store.connect(), NAMES, "one")
    with pytest.raises(BadInput, match="Say why"):
        promote_version(root, "one", " ")
    with pytest.raises(BadInput, match="no model for '77'"):
        promote_version(root, "77", "no")
    assert promote_version(root, "one", "two was rude").startswith(f"The champion is one (version {older.version}); be")
    assert publish_timeline(root).champion.name == "one"
    tags = versions.find_version(store.connect(), NAMES, "one").tags
    assert "two was rude" in tags[champions.GATE_TAG]
    assert len([tag for tag in tags if tag.startswith(f"{champions.VERDICT_TAG}.")]) >= 2  # the gate's is kept


def test_what_a_server_could_not_serve_becomes_no_champion(root, monkeypatch):
    publish_timeline(root)
    client = store.connect()
    champions.choose(client, NAMES, versions.find_version(client, NAMES, "one"), "to begin with")
    retrain(root, "two", 31)

    def refuse(version, most):
        assert most == 4
        raise Corrupt(f"Version {version.version} (two) does not become champion")

    for judging in ("flows.judge.refuse_unservable", "tasks.registry.served.refuse_unservable"):
        monkeypatch.setattr(judging, refuse)
    assert "(two) does not become champion" in str(publish_timeline(root).problem)
    with pytest.raises(Corrupt, match="does not become champion"):
        promote_version(root, "two", "anyway")
    assert champions.champion(NAMES).name == "one"
    for judging in ("flows.judge.refuse_unservable", "tasks.registry.served.refuse_unservable"):
        monkeypatch.setattr(judging, lambda version, most: None)
    assert publish_timeline(root).champion.name == "two"  # the next run tries again


def test_a_rollback_lasts_and_the_history_tells_it(root):
    publish_timeline(root)
    client = store.connect()
    for name in ("one", "two"):  # whatever the tests before this one left
        champions.choose(client, NAMES, versions.find_version(client, NAMES, name), "to begin with")
    assert roll_back(root, None, "").startswith("The champion is one (version ")
    for _ in range(2):
        assert publish_timeline(root).champion.name == "one"
    assert roll_back(root, "two", "it was the users").startswith("The champion is two (version ")
    screen = Console(file=io.StringIO(), width=160)
    print_history(root, screen)
    rows = [line.split() for line in screen.file.getvalue().splitlines()]
    assert rows[0] == ["version", "slice", "from", "to", "by", "because"]
    assert [(row[1], row[4]) for row in rows[1:3]] == [("two", "now"), ("one", rows[1][2])]
    assert "it was the users" in screen.file.getvalue() and "rolled back" in screen.file.getvalue()


def test_where_there_is_no_champion_yet_nothing_is_rolled_back_and_no_history_is_shown(root, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(BadInput, match="No model is champion yet"):
        roll_back(root, None, "")
    with pytest.raises(BadInput, match="No champion is on record yet"):
        print_history(root, Console(quiet=True))
    publish_timeline(root)
    with pytest.raises(
        BadInput, match=r"The champion is two \(version 2\), and none was before it. `perennial promote"
    ):
        roll_back(root, None, "")


def test_a_version_whose_files_were_lost_is_made_again(root):
    client = store.connect()
    publish_timeline(root)
    before = versions.find_version(client, NAMES, "one")
    shutil.rmtree(root / "mlruns/perennial/models" / before.source.split("/")[-1])
    assert publish_timeline(root).published == ("one",)
    assert versions.find_version(client, NAMES, "one").version != before.version
    assert mlflow.pyfunc.load_model("models:/perennial@slice-one").predict(["hello"])


def test_a_registry_that_was_lost_is_published_anew(root, tmp_path, monkeypatch):
    publish_timeline(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    done = publish_timeline(root)
    assert done.problem is None
    assert (done.published, done.champion.name) == (SLICES, "two")


def test_a_model_is_compared_with_all_that_were_accepted_before_it_too(root, tmp_path, monkeypatch):
    compared = []

    def noting(settings, candidate, champion, former):
        compared.append([each.scores["slice"] for each in former])
        return decide(settings, candidate, champion, former)

    monkeypatch.setattr("flows.judge.decide", noting)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    publish_timeline(root)
    retrain(root, "two", 13)
    publish_timeline(root)
    assert compared == [[], ["one"], ["two", "one"]]  # none of them was champion when `two` was judged first


def test_a_hiccup_while_looking_stores_nothing_again_and_deletes_nothing(root, monkeypatch):
    from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository

    publish_timeline(root)
    client = store.connect()
    experiment = store.experiment(client, NAMES.timeline)
    before = len(versions.all_versions(client, NAMES)), len(client.search_runs([experiment]))

    def hiccup(*_, **__):
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(ModelsArtifactRepository, "list_artifacts", hiccup)
    done = publish_timeline(root)
    assert isinstance(done.problem, NotPublished)
    assert "can't be told (reset by peer)" in str(done.problem)
    assert (len(versions.all_versions(client, NAMES)), len(client.search_runs([experiment]))) == before


def test_what_is_stored_already_is_not_downloaded_again(root, monkeypatch):
    publish_timeline(root)
    fetched = []
    monkeypatch.setattr(versions, "_check_stored", lambda *arguments: fetched.append(arguments))
    publish_timeline(root)
    assert not fetched


def test_the_model_of_another_project_is_left_alone(root):
    publish_timeline(root)
    client = store.connect()
    before = client.get_registered_model("perennial"), len(versions.all_versions(client, NAMES))
    params = (root / "params.yaml").read_text()
    try:
        (root / "params.yaml").write_text(params.replace("owner: us", "owner: them"))
        retrain(root, "two", 11)
        done = publish_timeline(root)
        assert "belongs to another project or machine" in str(done.problem)
        with pytest.raises(champions.Owned, match=r"registry.owner: us"):
            promote_version(root, "one", "mine")
        client.set_registered_model_alias("perennial", "champion", 1)  # which its own next run has yet to notice
        with pytest.raises(champions.Owned, match=r"registry.owner: us"):
            roll_back(root, None, "")
        client.set_registered_model_alias("perennial", "champion", before[0].aliases["champion"])
        (root / "params.yaml").write_text(
            params.replace("owner: us", "owner: them").replace("model: perennial", "model: theirs")
        )
        assert publish_timeline(root).champion.version == "2"
    finally:
        (root / "params.yaml").write_text(params)
    after = client.get_registered_model("perennial"), len(versions.all_versions(client, NAMES))
    assert (after[0].aliases, after[0].tags, after[1]) == (before[0].aliases, before[0].tags, before[1])


def test_a_dead_server_is_a_problem_and_the_next_run_publishes(root, monkeypatch):
    publish_timeline(root)
    here = store.tracking_uri()
    started = time.monotonic()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://us:secret@127.0.0.1:9")
    done = publish_timeline(root)
    assert time.monotonic() - started < 5
    assert isinstance(done.problem, NotPublished)
    told = str(done.problem)
    assert told.startswith("Nothing was published to MLflow: The MLflow server http://127.0.0.1:9 does not answer (")
    assert (done.published, done.champion, done.no_champion) == ((), None, "unknown")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", here)
    assert publish_timeline(root).problem is None


def test_what_was_never_trained_is_named(root):
    (root / "models/two").rename(root / "aside")
    try:
        with pytest.raises(BadInput, match="models/two/lm is missing"):
            publish_timeline(root)
    finally:
        (root / "aside").rename(root / "models/two")


def test_without_git_it_is_published_all_the_same(root, monkeypatch):
    monkeypatch.setenv("PATH", "")
    retrain(root, "two", 12)
    done = publish_timeline(root)
    assert done.published == ("two",)
    run = store.connect().get_run(versions.find_version(store.connect(), NAMES, "two").run_id)
    assert run.data.tags["git.commit"] == "none"
