"""The Prefect flow, on a real server of its own; everything that needs none is tested without."""

import sys
from types import ModuleType
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, TaskRunFilter, TaskRunFilterFlowRunId
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Running
from prefect.testing.utilities import prefect_test_harness
from rich.console import Console

from flows import timeline, walk
from flows.progress import Progress
from tasks.errors import BadInput
from tests.flows.conftest import HEADER, STAGES
from tests.flows.test_remote import name_remote


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
    """The state of the latest flow run, and those of its tasks by their names."""
    with get_client(sync_client=True) as client:
        flow_run = max(client.read_flow_runs(), key=lambda each: each.created)
        of_run = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[flow_run.id]))
        tasks = client.read_task_runs(task_run_filter=of_run)
    return flow_run.state.name, {task.name: task.state.name for task in tasks}


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
    monkeypatch.setattr("tasks.closure.ROOT", project / "tasks")
    through_prefect(project)
    here, elsewhere = {"folder": str(project)}, {"folder": "/elsewhere"}
    with get_client(sync_client=True) as client:
        killed = client.create_flow_run(timeline.timeline, parameters=here, state=Running())
        others = client.create_flow_run(timeline.timeline, parameters=elsewhere, state=Running())
        through_prefect(project)
        assert state_of(client, killed.id) == "Crashed"
        assert state_of(client, others.id) == "Running"
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("sync: false", "sync: true"))
    name_remote(project, project.parent / "store")
    timeline.timeline(str(project))
    assert published == [project] * 3
    assert {path.name for path in (project.parent / "store").iterdir()} == {"files", "runs"}
    assert walk.last_run(project)["outcome"] == "completed"


def state_of(client, name: UUID) -> str:
    return client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[name])))[0].state.name
