"""The Prefect flow: each stage of DVC's graph is a task named by its address, and `publish` is the last one.

Prefect schedules, shows and keeps the history; what is stale is decided by DVC's hashes alone, so no result is
kept or cached here. prefect.yaml deploys the flow; `perennial run` calls it where the user has a Prefect server.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from prefect import flow, get_client, task, unmapped
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName
from prefect.client.schemas.objects import State
from prefect.context import get_run_context
from prefect.futures import wait
from prefect.states import Completed, Crashed, Failed
from rich.console import Console

from flows import walk
from flows.isolation import StepFailed, end_all, run_isolated
from flows.progress import Progress
from flows.walk import Run
from tasks import machine
from tasks.closure import refuse_other_code
from tasks.params import PARAMS, load_params
from tasks.steps import missing_shards

DELAYS = (30.0, 60.0, 300.0, 1800.0)  # seconds until a schedule's run tries to publish again
PLACE, BOOT = "perennial.place", "perennial.boot"
STATES = {"cached": "Cached", "restored": "Restored", "ran": "Completed"}

_room: dict[int, BoundedSemaphore] = {}  # for processes, by their threads


@task(name="stage", task_run_name="{address}", retries=0, cache_policy=NO_CACHE, persist_result=False)
def stage(address: str) -> State:
    """Bring one stage up to date."""
    outcome = walk.bring(walk.at_work.get(), address)
    return Completed(name=STATES[outcome], message=outcome)


@task(name="sums", task_run_name="{address} {part.name}", retries=0, cache_policy=NO_CACHE, persist_result=False)
def sums(part: Path, address: str, argv: list[str], folder: Path, threads: int) -> None:
    """Do one part of a step's work, here or on another machine that has the same folder; see `do_part`."""
    do_part(part, argv, folder, threads)  # imported there: what stands here would have to be sent


@task(name="push", task_run_name="push", retries=0, cache_policy=NO_CACHE, persist_result=False)
def push() -> None:
    """Push what was made to the DVC remote."""
    walk.send(walk.at_work.get())


@task(name="publish", task_run_name="publish", retries=0, cache_policy=NO_CACHE, persist_result=False)
def publish() -> State:
    """Publish every slice's model to MLflow."""
    run = walk.at_work.get()
    walk.publish(run)
    show_decisions(run)
    return outcome_of(run)


def worth_a_retry(task: Any, task_run: Any, state: State) -> bool:
    """Of `publish`: only a server that is away comes back by itself."""
    return bool(state.name == "NotPublished")


def do_shards(address: str, argv: list[str]) -> None:
    """Before a step runs: the parts of its work that are missing, each as a task.

    Raises:
        PerennialError: a part can't be done, for the same reason as the step; the other parts stay.
    """
    run = walk.at_work.get()
    if not (parts := missing_shards(argv)):
        return
    run.failed = False  # where Prefect fails, the step itself does what is missing
    threads = load_params(run.graph.root / PARAMS).threads
    try:
        futures = sums.map(parts, address, unmapped(argv), run.graph.root, threads)
        wait(futures)
    except BaseException:  # Ctrl-C reaches this thread only
        run.stopped = True
        end_all()
        raise
    run.failed = True
    for future in futures:
        future.result()


def do_part(part: Path, argv: list[str], folder: Path, threads: int) -> None:
    """Do one part of a step's work in a process of its own.

    Args:
        part: where it is to lie.
        argv: the step's.
        folder: the project's.
        threads: of a process; a machine has as many processes at a time as its processors have room for.

    Raises:
        PerennialError: it can't be done.
    """
    run = walk.at_work.get(None)  # none on another machine
    with _room.setdefault(threads, BoundedSemaphore(max(1, (os.cpu_count() or 1) // threads))):
        if run and run.stopped:
            raise StepFailed("It was stopped.")
        run_isolated([*argv, "--shard", str(part)], folder, run.lock if run else None)


@flow(name="perennial", retries=0, persist_result=False)
def timeline(folder: str = ".", isolated: bool = False) -> State:
    """Bring the whole timeline up to date and publish it.

    It ends as Completed, as NotPublished where MLflow was away, or as NotAccepted where the gate refused the newest
    slice or leaves it to a person: on a schedule nobody reads what a run prints.

    Args:
        folder: the project's.
        isolated: run each step in a process of its own.
    """
    scheduled = walk.at_work.get(None) is None
    with _at_work(Path(folder).resolve(), isolated) as run:
        bury_the_dead()
        run.ahead = do_shards
        for address in run.addresses:
            stage(address)
        if run.sync:
            push()
        last = publish
        if scheduled:
            last = publish.with_options(
                retries=len(DELAYS), retry_delay_seconds=list(DELAYS), retry_condition_fn=worth_a_retry
            )
        ended = last(return_state=True)
        if not run.published:
            ended.result()
        return outcome_of(run)


def outcome_of(run: Run) -> State:
    """How the run ended, as a state of its own kind."""
    problem = run.published.problem if run.published else None
    if not problem:
        return Completed()
    return Failed(name=type(problem).__name__, message=str(problem))


def show_decisions(run: Run) -> None:
    """What the gate decided about the newest slice, rule by rule, as an artifact; or why nothing was published."""
    published = run.published
    if not published:
        return
    if not published.decisions:
        create_markdown_artifact(str(published.problem), key="not-published")
        return
    name, decision = list(published.decisions.items())[-1]
    columns = ("name", "value", "bound", "interval", "decision", "note")
    rules = [{column: rule[column] for column in columns} for rule in decision.get("rules", [])]
    create_table_artifact(rules, key="gate", description=f"{name}: {decision['decision']}")


def walk_with_prefect(run: Run) -> None:
    """Call the flow on a run that is already open; what could not be published is told by who opened it."""
    token = walk.at_work.set(run)
    try:
        state = timeline(str(run.graph.root.resolve()), run.isolated, return_state=True)
        if not run.published:
            state.result()
    finally:
        run.ahead = None
        walk.at_work.reset(token)


@contextmanager
def _at_work(root: Path, isolated: bool) -> Iterator[Run]:
    """The run that the command line opened; one of its own when a Prefect worker calls the flow."""
    if run := walk.at_work.get(None):
        yield run
        return
    refuse_other_code(root)
    os.chdir(root)
    with Progress(Console()) as progress, walk.opened(root, progress, isolated=isolated, sync=None) as run:
        token = walk.at_work.set(run)
        try:
            yield run
        finally:
            walk.at_work.reset(token)


def bury_the_dead() -> None:
    """Mark runs of this folder on this host as crashed that a kill left `Running`: we hold its lock, so none lives.

    They are known by labels: in containers every host has the same folder, and a tag would make Prefect ask for a
    concurrency slot at every task.
    """
    alive: Any = get_run_context()
    names = FlowRunFilterStateName(any_=["Running", "Cancelling"])
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(alive.flow_run.id, {PLACE: machine.place(), BOOT: machine.boot()})
        for each in client.read_flow_runs(flow_run_filter=FlowRunFilter(state=FlowRunFilterState(name=names))):
            began = each.start_time or each.created
            started = began.timestamp() if began else 0.0
            place, boot = (str(each.labels.get(label, "")) for label in (PLACE, BOOT))
            if each.id != alive.flow_run.id and machine.is_dead(place, boot, started):
                client.set_flow_run_state(each.id, Crashed(message="Its process was killed."), force=True)
