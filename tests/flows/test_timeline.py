"""The Prefect flow, on a real server of its own; everything that needs none is tested without."""

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import ModuleType
from uuid import UUID

import cloudpickle
import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, TaskRunFilter, TaskRunFilterFlowRunId
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Running
from prefect.testing.utilities import prefect_test_harness
from rich.console import Console

from flows import timeline, update, walk
from flows.comparing import Comparing
from flows.isolation import StepFailed
from flows.mapping import compare_with_prefect
from flows.progress import Progress
from flows.publish import NotAccepted, NotPublished, Published
from tasks import machine
from tasks.artifact import manifest_sum
from tasks.errors import BadInput, Corrupt
from tasks.params import load_params
from tasks.scoring.gate import Rule
from tasks.steps import run_step
from tests.every_step import SEED, STAGE2, Timeline, begin_examples, facts
from tests.flows.conftest import HEADER, STAGES
from tests.flows.test_remote import name_remote
from tests.lm.solved.brought import SMALL


@pytest.fixture(scope="module")
def server():
    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture
def published(monkeypatch):
    """The folders that `publish` was called with."""
    folders = []
    stand_in = ModuleType("flows.publish")
    stand_in.publish_timeline = folders.append
    monkeypatch.setitem(sys.modules, "flows.publish", stand_in)
    return folders


def through_prefect(root):
    with walk.opened(root, Progress(Console(quiet=True))) as run:
        timeline.walk_with_prefect(run)


def latest():
    """The state of the latest flow run, and those of its tasks by their names; None before one has arrived."""
    with get_client(sync_client=True) as client:
        flow_run = max(client.read_flow_runs(), key=lambda each: each.created)
        of_run = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[flow_run.id]))
        tasks = client.read_task_runs(task_run_filter=of_run)
    return flow_run.state.name, {task.name: task.state and task.state.name for task in tasks}


def wait_for(expected):
    """Task states reach the server through events, a moment after the flow has ended."""
    import time

    give_up = time.monotonic() + 10
    while (found := latest()) != expected and time.monotonic() < give_up:
        time.sleep(0.1)
    assert found == expected


def test_each_stage_is_a_task_and_publishing_the_last(server, project, published):
    through_prefect(project)
    wait_for(("Completed", dict.fromkeys([*STAGES, "publish"], "Completed")))
    assert published == [project]

    (project / "data/raw/two/facts.csv").write_text(HEADER + "Peru,capital,Quito\n")
    through_prefect(project)
    cached = {"origin": "Cached", "dataset@one": "Cached"}
    wait_for(("Completed", cached | {"dataset@two": "Completed", "publish": "Completed"}))

    (project / "data/raw/two/facts.csv").write_text(HEADER + "Peru,capital\n")
    with pytest.raises(BadInput, match="facts.csv, line 2"):
        through_prefect(project)
    wait_for(("Failed", cached | {"dataset@two": "Failed"}))


def test_a_worker_runs_the_flow_alone_and_runs_that_were_killed_are_marked(server, project, published, monkeypatch):
    through_prefect(project)
    here = {timeline.PLACE: machine.place(), timeline.BOOT: machine.boot()}
    another_host = here | {timeline.PLACE: "another host, the same folder"}
    with get_client(sync_client=True) as client:
        runs = []
        for labels in (here, another_host):
            running = client.create_flow_run(timeline.timeline, parameters={"folder": str(project)}, state=Running())
            client.update_flow_run_labels(running.id, labels)
            runs.append(running.id)
        through_prefect(project)
        assert [state_of(client, each) for each in runs] == ["Crashed", "Running"]
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("sync: false", "sync: true"))
    name_remote(project, project.parent / "store")
    timeline.timeline(str(project))
    assert published == [project] * 3
    assert {path.name for path in (project.parent / "store").iterdir()} == {"files", "runs"}
    assert walk.last_run(project)["outcome"] == "completed"


REFUSED = {
    "decision": "refused",
    "rules": [asdict(Rule("new facts", 0.1, 0.8, (0.0, 0.3), "FAILED"))],
    "reasons": ["ok: metrics that are not finite 0, at most 0 allowed", "FAILED: new facts 0.1, at least 0.8 asked"],
    "open": ["FAILED: new facts 0.1, at least 0.8 asked"],
}


@pytest.mark.parametrize(
    ("problem", "decisions", "state", "tries", "artifact"),
    [
        (NotPublished("MLflow is away."), {}, "NotPublished", 4, "not-published"),
        (NotAccepted("two was not accepted."), {"two": REFUSED}, "NotAccepted", 1, "gate"),
    ],
)
def test_a_schedule_is_not_green_when_nothing_was_published_or_the_newest_was_refused(
    server, project, published, monkeypatch, problem, decisions, state, tries, artifact
):
    def publish_timeline(root):
        published.append(root)
        return Published(decisions=decisions, problem=problem)

    monkeypatch.setattr(sys.modules["flows.publish"], "publish_timeline", publish_timeline)
    monkeypatch.setattr(timeline, "DELAYS", (0.0, 0.0, 0.0))
    ended = timeline.timeline(str(project), return_state=True)
    assert (ended.name, ended.is_failed(), ended.message) == (state, True, str(problem))
    assert len(published) == tries
    with get_client(sync_client=True) as client:
        assert artifact in {each.key for each in client.read_artifacts()}


def test_one_that_was_away_is_tried_again_and_then_all_is_well(server, project, published, monkeypatch):
    answers = [
        Published(problem=NotPublished("away")),
        Published(decisions={"two": REFUSED | {"decision": "accepted"}}),
    ]
    monkeypatch.setattr(sys.modules["flows.publish"], "publish_timeline", lambda root: answers.pop(0))
    monkeypatch.setattr(timeline, "DELAYS", (0.0, 0.0, 0.0))
    assert timeline.timeline(str(project), return_state=True).name == "Completed"


SUMS = """
stages:
  stage2:
    foreach: {one: {}}
    do:
      cmd: python -m tasks stage2 --examples examples/${key} --stage1 ${key}/stage1 --out out/${key}
      deps: ["examples/${key}", "${key}/stage1"]
      params: [stage2]
      outs: ["out/${key}"]
"""


@pytest.fixture
def solving(project, monkeypatch):
    """The project with one stage, that learns a slice in two shards."""
    settings = STAGE2.model_copy(update={"how": "solved", "solved": SMALL})
    lesson = Timeline(project, stage2=settings)
    begin_examples(project)
    lesson.bring_examples("one", facts(("Peru", "Lima"), ("Chile", "Santiago")), "base")
    lesson.bring_model("one", "base")
    in_two = settings.model_copy(update={"solved": SMALL.model_copy(update={"shards": 2})})
    params = load_params().model_copy(update={"seed": SEED, "threads": 1, "stage2": in_two})
    (project / "params.yaml").write_text(params.model_dump_json())
    (project / "dvc.yaml").write_text(SUMS)

    monkeypatch.setattr(update, "run_step", partial(run_step, live=False))
    monkeypatch.setattr(timeline, "run_isolated", lambda argv, root, lock: run_step(argv))
    return project


PARTS = [f"stage2@one shard-{number}-of-2" for number in range(2)]


def test_the_shards_of_a_slices_sums_are_tasks_and_what_they_leave_is_what_one_process_leaves(
    server, solving, published, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr("tasks.lm.solved.shards.make_shard", None)  # the step itself makes none
        weights = solving / "one/stage1/model.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-1])
        with pytest.raises(Corrupt, match=r"one/stage1/model.safetensors was changed"):
            through_prefect(solving)
        wait_for(("Failed", dict.fromkeys([*PARTS, "stage2@one"], "Failed")))
        weights.write_bytes(whole)
        through_prefect(solving)
        wait_for(("Completed", dict.fromkeys([*PARTS, "stage2@one", "publish"], "Completed")))
        through_prefect(solving)
        wait_for(("Completed", {"stage2@one": "Cached", "publish": "Completed"}))
    assert manifest_sum(solving / "out/one") == manifest_sum(solving / "one/lm")


def test_on_another_machine_a_part_is_done_without_the_runs_lock_and_its_sentence_comes_back(project):
    sent = cloudpickle.loads(cloudpickle.dumps([timeline.sums, timeline.stage, timeline.timeline]))[0]
    origin = ["origin", "--relations", "data/raw/relations.yaml", "--out", "made"]
    with pytest.raises(BadInput, match="x/shard-0-of-2 is no part of what this machine would do for 'origin'"):
        sent.fn(Path("x/shard-0-of-2"), "origin", origin, project, 1)


def test_after_ctrl_c_no_further_part_is_begun(project):
    with walk.opened(project, Progress(Console(quiet=True))) as run:
        run.stopped, token = True, walk.at_work.set(run)
        with pytest.raises(StepFailed, match="It was stopped"):
            timeline.do_part(Path("x/shard-0-of-2"), ["origin"], project, 1)
        walk.at_work.reset(token)


def test_where_prefect_can_map_nothing_the_step_makes_the_shards(server, solving, published, monkeypatch):
    def away(*arguments):
        raise ConnectionError

    monkeypatch.setattr(timeline.sums, "map", away)
    with walk.opened(solving, Progress(Console(quiet=True))) as run:
        with pytest.raises(ConnectionError):
            timeline.walk_with_prefect(run)
        assert not run.failed
        walk.walk(run)
    assert manifest_sum(solving / "out/one") == manifest_sum(solving / "one/lm")


def state_of(client, name: UUID) -> str:
    return client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[name])))[0].state.name


def test_each_entry_of_a_comparison_is_a_task_and_one_that_fails_stops_no_other(server, project, monkeypatch):
    pairs = [("naive", 1), ("replay", 1), ("naive", 2)]
    comparing = Comparing(project, load_params(), 0, Progress(Console(quiet=True)), pairs)
    monkeypatch.setattr(Comparing, "_bring", lambda self, name, seed, *_, **__: "no" if name == "replay" else None)
    monkeypatch.setattr("tasks.comparison.has_first", lambda params, seed, *_: seed == 2)
    compare_with_prefect(comparing)
    done = dict.fromkeys(("first 1", "first 2", "naive 1", "naive 2"), "Completed")
    wait_for(("Completed", done | {"replay 1": "Failed"}))
    with get_client(sync_client=True) as client:
        flow_run = max(client.read_flow_runs(), key=lambda each: each.created)
    assert flow_run.parameters == {"folder": str(project.resolve())}
    assert (comparing.failed, comparing.left) == ({("replay", 1): "no"}, [])
