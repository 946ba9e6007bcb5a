"""Whatever happens to runs, settings and the registry, the chat answers from the registry's champion, or from nothing.

`make prove` takes many more sequences than the suite.
"""

import shutil
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from flows.chat import chosen_models
from flows.publish import publish_timeline
from tasks import artifact
from tasks.errors import PerennialError
from tasks.registry import champion as champions
from tasks.registry import store, versions
from tests.flows.conftest import small_params
from tests.scoring.made import made_scores, with_stages, write_scores

SLICES = ("one", "two")
NAMES = store.Names("perennial", "us")
CALLS = (  # of MLflow's client that write: a kill may come before or after each
    "create_run", "log_batch", "set_model_version_tag", "set_registered_model_tag", "set_registered_model_alias",
    "create_model_version", "set_terminated", "delete_registered_model_tag", "delete_model_version_tag",
)  # fmt: skip
AWAY = "http://127.0.0.1:9"


class Killed(BaseException):
    """As kill -9 would: nothing catches it."""


def store_plainly(**arguments):
    """In the place of MLflow's packing, which takes a second and is tested elsewhere: the folders, and no code."""
    place = (
        Path(arguments["artifacts"]["lm"].removeprefix("file://")).parents[2]
        / "stored"
        / mlflow.active_run().info.run_id
    )
    for name, uri in arguments["artifacts"].items():
        shutil.copytree(uri.removeprefix("file://"), place / "artifacts" / name)
    return SimpleNamespace(model_uri=place.as_uri(), model_id=None)


def write(folder, content):
    with artifact.writing(folder) as out:
        (out / "model.safetensors").write_text(content)


@pytest.fixture(scope="module")
def database(tmp_path_factory, servable):
    """An empty registry: to make one takes seconds, to copy it none."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
        patch.chdir(path.parent)
        store.connect()
    return path


class Life(RuleBasedStateMachine):
    """A project of two slices: its models are a word each, and `good` says whether the gate will take them."""

    database: Path
    folder: Path
    count = 0

    @initialize()
    def begin(self):
        type(self).count += 1
        self.root = self.folder / str(self.count)
        self.patch = pytest.MonkeyPatch()
        self.registries = 0
        self.words = 0
        self.older = {}
        for name in SLICES:
            with artifact.writing(self.root / "data/examples" / name) as out:
                (out / "raw.json").write_text("{}")
        (self.root / "params.yaml").write_text(small_params().replace("owner: null", "owner: us"))
        self.patch.chdir(self.root)
        self.patch.setattr(mlflow.pyfunc, "log_model", store_plainly)
        self.lose_the_registry()
        self.train(SLICES, good=True)

    def teardown(self):
        if hasattr(self, "patch"):
            self.patch.undo()
            shutil.rmtree(self.root)

    def train(self, names, good):
        """What a run does before it publishes."""
        for name in names:
            self.words += 1
            self.older[name] = [*self.older.get(name, []), self.root / "models" / f"{name}-{self.words}"]
            write(self.older[name][-1] / "lm", f"{name} {self.words}")
            write(self.older[name][-1] / "retriever", f"retriever {self.words}")
            self.restore(name, -1)
            scores = with_stages(made_scores(SLICES.index(name), SLICES))
            if not good:
                scores["categories"]["new"] = scores["model"]["accuracy"][name] = 0.1
            write_scores(self.root / "reports/evaluation" / name, scores)

    def restore(self, name, which):
        shutil.rmtree(self.root / "models" / name, ignore_errors=True)
        shutil.copytree(self.older[name][which], self.root / "models" / name)

    def publish(self):
        if all((self.root / "models" / name / "lm").exists() for name in SLICES):
            publish_timeline(self.root)
            return
        with pytest.raises(PerennialError, match="missing or incomplete"):
            publish_timeline(self.root)

    @rule(good=st.booleans(), whole=st.booleans())
    def edit_settings_and_run(self, good, whole):
        self.train(SLICES if whole else SLICES[1:], good)
        self.publish()

    @rule()
    def run_again(self):
        self.publish()

    @rule(good=st.booleans())
    def train_and_die_before_publishing(self, good):
        self.train(SLICES, good)

    @rule(name=st.sampled_from(SLICES))
    def be_retraining(self, name):
        """DVC deletes a stage's outputs before it runs."""
        shutil.rmtree(self.root / "models" / name / "lm", ignore_errors=True)
        self.publish()

    @rule(name=st.sampled_from(SLICES), which=st.integers(0, 9))
    def restore_older_models(self, name, which):
        self.restore(name, which % len(self.older[name]))

    @rule(call=st.sampled_from(CALLS), number=st.integers(1, 6), before=st.booleans())
    def be_killed_while_publishing(self, call, number, before):
        real, seen = getattr(mlflow.MlflowClient, call), []

        def dying(client, *rest, **named):
            seen.append(call)
            if before and len(seen) == number:
                raise Killed
            answer = real(client, *rest, **named)
            if len(seen) == number:
                raise Killed
            return answer

        self.train(SLICES[1:], good=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mlflow.MlflowClient, call, dying)
            try:
                self.publish()
            except Killed:
                mlflow.end_run()

    @rule()
    def lose_the_registry(self):
        self.registries += 1
        place = self.root / f"registry{self.registries}"
        (place / "mlruns").mkdir(parents=True)
        shutil.copy(self.database, place / "mlflow.db")
        self.patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place / 'mlflow.db'}")

    @rule(which=st.integers(0, 9))
    def move_the_alias_by_hand(self, which):
        client = store.connect()
        accepted = [each for each in self.versions(client) if each.tags.get(champions.DECISION_TAG) == "true"]
        if accepted:
            client.set_registered_model_alias(NAMES.model, "champion", accepted[which % len(accepted)].version)

    @rule()
    def ask_while_the_registry_is_away(self):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", AWAY)
            with pytest.raises(PerennialError, match="nobody knows the champion"):
                chosen_models(self.root, None)

    @invariant()
    def the_chat_answers_from_the_champion_or_not_at_all(self):
        if not hasattr(self, "patch"):
            return
        client = store.connect()
        number = versions.aliases_of(client, NAMES).get("champion")
        if number is None:
            with pytest.raises(PerennialError, match="No model is champion yet"):
                chosen_models(self.root, None)
            return
        version = client.get_model_version(NAMES.model, number)
        assert version.tags[champions.DECISION_TAG] == "true"
        chosen = chosen_models(self.root, None)
        assert f"version {number})" in chosen.name
        for part in ("lm", "retriever"):
            kept = Path(version.source.removeprefix("file://")) / "artifacts" / part
            assert (getattr(chosen, part) / "model.safetensors").read_bytes() == (
                kept / "model.safetensors"
            ).read_bytes()

    def versions(self, client):
        return versions.all_versions(client, NAMES)


def live(database, folder, examples):
    life = type("Life", (Life,), {"database": database, "folder": folder})
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        life,
        settings=settings(
            max_examples=examples, stateful_step_count=6, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_the_chat_never_answers_from_another_model_than_the_champion(database, tmp_path):
    live(database, tmp_path, 4)


@pytest.mark.slow
def test_the_same_in_a_thousand_sequences(database, tmp_path):
    live(database, tmp_path, 1000)
