"""The Prefect flow: each stage of DVC's graph is a task named by its address, and `publish` is the last one.

Prefect schedules, shows and keeps the history; what is stale is decided by DVC's hashes alone, so no result is
kept or cached here. prefect.yaml deploys the flow; `perennial run` calls it where the user has a Prefect server.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from prefect import flow, get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName
from prefect.client.schemas.objects import State
from prefect.context import get_run_context
from prefect.states import Completed, Crashed
from rich.console import Console

from flows import walk
from flows.progress import Progress
from flows.walk import Run
from tasks.closure import refuse_other_code

STATES = {"cached": "Cached", "restored": "Restored", "ran": "Completed"}

_run: ContextVar[Run] = ContextVar("run")


@task(name="stage", task_run_name="{address}", retries=0, cache_policy=NO_CACHE, persist_result=False)
def stage(address: str) -> State:
    """Bring one stage up to date."""
    outcome = walk.bring(_run.get(), address)
    return Completed(name=STATES[outcome], message=outcome)


@task(name="push", task_run_name="push", retries=0, cache_policy=NO_CACHE, persist_result=False)
def push() -> None:
    """Push what was made to the DVC remote."""
    walk.send(_run.get())


@task(name="publish", task_run_name="publish", retries=0, cache_policy=NO_CACHE, persist_result=False)
def publish() -> None:
    """Publish every slice's model to MLflow."""
    walk.publish(_run.get())


@flow(name="perennial", retries=0, persist_result=False)
def timeline(folder: str = ".", isolated: bool = False) -> None:
    """Bring the whole timeline up to date and publish it.

    Args:
        folder: the project's.
        isolated: run each step in a process of its own.
    """
    with _at_work(Path(folder).resolve(), isolated) as run:
        bury_the_dead(folder)
        for address in run.addresses:
            stage(address)
        if run.sync:
            push()
        publish()


def walk_with_prefect(run: Run) -> None:
    """Call the flow on a run that is already open."""
    token = _run.set(run)
    try:
        timeline(str(run.graph.root.resolve()), run.isolated)
    finally:
        _run.reset(token)


@contextmanager
def _at_work(root: Path, isolated: bool) -> Iterator[Run]:
    """The run that the command line opened; one of its own when a Prefect worker calls the flow."""
    if run := _run.get(None):
        yield run
        return
    refuse_other_code(root)
    os.chdir(root)
    with Progress(Console()) as progress, walk.opened(root, progress, isolated=isolated, sync=None) as run:
        token = _run.set(run)
        try:
            yield run
        finally:
            _run.reset(token)


def bury_the_dead(folder: str) -> None:
    """Mark runs of this folder as crashed that a kill left `Running`: we hold its lock, so none of them lives.

    The folder is found among the parameters: a tag would make Prefect ask for a concurrency slot at every task.
    """
    alive: Any = get_run_context()
    names = FlowRunFilterStateName(any_=["Running", "Cancelling"])
    with get_client(sync_client=True) as client:
        for each in client.read_flow_runs(flow_run_filter=FlowRunFilter(state=FlowRunFilterState(name=names))):
            if each.id != alive.flow_run.id and each.parameters.get("folder") == folder:
                client.set_flow_run_state(each.id, Crashed(message="Its process was killed."), force=True)
