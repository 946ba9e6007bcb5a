"""One run over the graph: every stage in order, shown, counted, and noted in .perennial/last_run.json.

A slice's stages stand before those of the next, so that its scores are there before the next one trains: where
params.yaml sets a floor and they are below it, the run ends there.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import graph as graphs
from flows import remote
from flows.graph import Graph
from flows.locks import only_run
from flows.progress import Progress
from flows.signals import end_if_told
from flows.states import states
from flows.update import Ahead, Outcome, bring_settings, take_stage, update_stage
from tasks.artifact import read_json, verified, write_file
from tasks.errors import PerennialError
from tasks.params import PARAMS, load_params
from tasks.scoring.floor import below

if TYPE_CHECKING:
    from flows.publish import Published

LAST_RUN = Path(".perennial/last_run.json")
EVALUATE = "evaluate"

at_work: ContextVar["Run"] = ContextVar("run")  # here, as what stands in a flow's own module is sent to other machines


class BelowFloor(PerennialError):
    """A slice's model knows less than params.yaml's floor asks for, so nothing is built on it."""


@dataclass
class Run:
    """A run at work: the open graph, the lock's file descriptor, and what became of each stage so far."""

    graph: Graph
    lock: int
    progress: Progress
    isolated: bool = False
    sync: bool = False  # with the DVC remote
    pushed: int | None = None  # files that were new there
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    ahead: Ahead | None = None  # does parts of a step's work beforehand
    stopped: bool = False  # no further part is begun
    failed: bool = False  # a step or publishing did, as opposed to what schedules them
    published: "Published | None" = None

    @property
    def addresses(self) -> list[str]:
        return [stage.addressing for stage in self.graph.stages]

    def count(self, outcome: Outcome) -> int:
        return Counter(self.outcomes.values())[outcome]


@contextmanager
def opened(
    root: Path, progress: Progress, targets: tuple[str, ...] = (), isolated: bool = False, sync: bool | None = False
) -> Iterator[Run]:
    """Take the lock, open the graph, and note how the run ended.

    Args:
        root: the project's folder.
        progress: the screen.
        targets: only what these need.
        isolated: run each step in a process of its own.
        sync: restore from the DVC remote, too, and push what was made; None: as params.yaml says.

    Raises:
        Busy: another run is at work.
        RemoteFailed: the remote does not answer.
    """
    with only_run(root) as lock, graphs.opened(root, targets) as graph:
        run = Run(graph, lock, progress, isolated, load_params(root / PARAMS).sync if sync is None else sync)
        started, clock = datetime.now(UTC), time.monotonic()

        def note(outcome: str) -> None:
            _note(root, run, outcome, started, time.monotonic() - clock)

        note("running")  # and so it stays if the process is killed
        try:
            run.outcomes.update(bring_settings(graph, lock))
            if run.sync:
                remote.ask(graph)
            yield run
        except BaseException as error:
            with suppress(OSError):  # on a full disk, say: what ended the run is told, and not that it can't be noted
                note("failed" if isinstance(error, Exception) else "interrupted")
            raise
        note("completed")


def anything_to_do(run: Run) -> bool:
    """Whether any stage is stale or missing."""
    return any(state.state != "fresh" for state in states(run.graph))


def leave(run: Run) -> None:
    """Count every stage as up to date but those that were brought before anybody looked."""
    for address in run.addresses:
        run.outcomes.setdefault(address, "cached")


def walk(run: Run) -> None:
    """Bring every stage up to date, in order, in this thread."""
    for address in run.addresses:
        bring(run, address)


def bring_examples(root: Path, slices: Iterable[str], lock: int, progress: Progress) -> None:
    """The slices' examples, and nothing else of the graph."""
    with graphs.opened(root, tuple(f"dataset@{name}" for name in slices)) as graph:
        walk(Run(graph, lock, progress))


def bring(run: Run, address: str) -> Outcome:
    """Bring one stage up to date and show it."""
    end_if_told()
    stage = next(stage for stage in run.graph.stages if stage.addressing == address)
    with run.progress.step(address) as shown:
        run.failed = True
        outcome = update_stage(run.graph, stage, run.lock, shown.log, run.isolated, run.ahead)
        run.failed = False
        shown.outcome = outcome
    if outcome != "cached" or address not in run.outcomes:  # a second walk of the same run doesn't undo the count
        run.outcomes[address] = outcome
    _stop_below_floor(run, stage)
    return outcome


def take(run: Run) -> list[str]:
    """Restore every stage that DVC's caches or its remote have, and run none; the addresses of those that are left."""
    left: list[str] = []
    for stage in run.graph.stages:
        address = stage.addressing
        if not set(left).isdisjoint(graphs.needed_by(run.graph, stage)):
            left.append(address)
            continue
        with run.progress.step(address) as shown:
            shown.outcome = outcome = take_stage(run.graph, stage)
        if outcome:
            run.outcomes[address] = outcome
        else:
            left.append(address)
    return left


def send(run: Run) -> None:
    """Push what was made to the DVC remote, if this run is in step with it."""
    if not run.sync:
        return
    run.failed = True
    with graphs.opened(run.graph.root) as graph:  # as dvc.lock is now
        run.pushed = remote.push(graph)
    run.failed = False


def publish(run: Run) -> None:
    """Publish the models to MLflow; one that is published already costs nothing."""
    from flows.publish import publish_timeline

    run.failed = True
    for stage in run.graph.stages:
        _stop_below_floor(run, stage)  # nothing may have run since the floor was set
    run.published = publish_timeline(run.graph.root)
    run.failed = False


def last_run(root: Path) -> dict[str, Any] | None:
    """When the last run started, how long it took, what it did and how it ended; None before the first."""
    try:
        return json.loads((root / LAST_RUN).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _stop_below_floor(run: Run, stage: Any) -> None:
    """End the run if `stage` is a slice's evaluation, and what it found is below the floor."""
    if stage.addressing.partition("@")[0] != EVALUATE:
        return
    root = run.graph.root
    floor = load_params(root / PARAMS).floor
    if not floor.model_fields_set:
        return
    arguments = graphs.arguments_of(stage)
    scores = read_json(verified(root / arguments[arguments.index("--out") + 1]) / "scores.json")
    if reason := below(floor, scores):
        run.failed = True
        raise BelowFloor(reason)


def _note(root: Path, run: Run, outcome: str, started: datetime, seconds: float) -> None:
    content = {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "ran": run.count("ran"),
        "restored": run.count("restored"),
        "cached": run.count("cached"),
        "outcome": outcome,
    }
    write_file(root / LAST_RUN, (json.dumps(content, indent=1) + "\n").encode())
