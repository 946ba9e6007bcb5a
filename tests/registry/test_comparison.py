"""The comparison of methods on a real SQLite store."""

import copy
import json

import pytest

from tasks.registry import store
from tasks.registry.comparison import PARENT_TAG, publish_comparison
from tests.registry.conftest import registry_in

NAMES = store.Names("made", "us")


def seed(accuracy):
    return {
        "metrics": {"accuracy": accuracy, "updated": None},
        "by_slice": {"accuracy": [0.9, accuracy], "seconds": [1.0, 2.0]},
    }


TOLD = {
    "slices": ["2020", "2021"],
    "steps": 200,
    "joint": 1.5,
    "entries": {
        "replay": {
            "family": "rehearsal", "methods": [{"name": "replay", "share": 0.4}], "keep": "all",
            "seeds": {"20": seed(0.8), "21": seed(0.7)}, "mean": {"accuracy": 0.75, "updated": None}, "failed": {},
        },
        "broken": {
            "family": "regularisation", "methods": [{"name": "ewc"}], "keep": "none", "seeds": {}, "mean": {},
            "failed": {"20": "no"},
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("comparison")
    (root / "methods.json").write_text(json.dumps(TOLD))
    (root / "methods_cost.png").write_bytes(b"png")
    return root


@pytest.fixture(scope="module")
def client(root):
    with registry_in(root) as client:
        yield client


def publish(client, root, told=TOLD):
    publish_comparison(client, NAMES, told, [root / "methods.json"], [root / "methods_cost.png"])
    return {run.info.run_id: run for run in client.search_runs([store.experiment(client, NAMES.comparison)])}


def test_each_entry_and_seed_is_a_run_in_the_comparisons(root, client):
    runs = publish(client, root)
    by_name = {run.info.run_name: run for run in runs.values()}
    assert by_name.keys() == {"methods", "replay 20", "replay 21"}
    parent, nested = by_name["methods"], by_name["replay 21"]
    assert nested.data.tags[PARENT_TAG] == parent.info.run_id
    assert nested.data.metrics["accuracy"] == 0.7
    assert nested.data.params["seed"] == "21"
    assert json.loads(nested.data.params["methods"]) == TOLD["entries"]["replay"]["methods"]
    curve = client.get_metric_history(nested.info.run_id, "by_slice.accuracy")
    assert [(each.step, each.value) for each in curve] == [(2020, 0.9), (2021, 0.7)]
    assert parent.data.metrics["replay.accuracy"] == 0.75
    assert {each.path for each in client.list_artifacts(parent.info.run_id)} == {"methods.json", "plots"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def test_publishing_again_changes_nothing_and_what_a_kill_left_is_finished(root, client, monkeypatch):
    before = publish(client, root)
    assert publish(client, root).keys() == before.keys()

    told = copy.deepcopy(TOLD)
    told["entries"]["replay"]["seeds"]["22"] = seed(0.6)
    finish, ended = type(client).set_terminated, []

    def killed(self, run_id, *rest, **named):
        if len(ended) == 1:
            raise KeyboardInterrupt
        ended.append(run_id)
        finish(self, run_id, *rest, **named)

    monkeypatch.setattr(type(client), "set_terminated", killed)
    with pytest.raises(KeyboardInterrupt):
        publish(client, root, told)
    monkeypatch.undo()
    after = publish(client, root, told)
    assert len(after) == len(before) + 4  # a comparison of its own, with its three runs
    assert {run.info.status for run in after.values()} == {"FINISHED"}
    assert ended[0] in after
