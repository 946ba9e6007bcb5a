"""One stage brought up to date: left, restored from DVC's run-cache, or run and recorded.

A stage is recorded only after its inputs were found to be what they were when it started: DVC alone would note the
parameters of the end for the outputs of the beginning. Nothing is ever committed that did not run.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

from flows.cache import record, restore
from flows.graph import SETTINGS, Graph, arguments_of, bookkeeping, busy, step_of
from flows.isolation import edited, run_isolated
from tasks.errors import BadInput, PerennialError
from tasks.steps import Log, run_step

Outcome = Literal["cached", "restored", "ran"]
Ahead = Callable[[str, list[str]], None]  # takes a stage's address and its step's arguments
PATIENCE = 30.0  # seconds that a short `dvc status` elsewhere is waited for


class InputsChanged(PerennialError):
    """An input of a stage was edited while the stage ran, so its output is not recorded."""


def bring_settings(graph: Graph, lock: int) -> dict[str, Outcome]:
    """Write params.yaml out with its defaults, before anybody asks what differs: that takes milliseconds."""
    settings = (stage for stage in graph.stages if step_of(stage) == SETTINGS)
    return {stage.addressing: update_stage(graph, stage, lock) for stage in settings}


def update_stage(
    graph: Graph, stage: Any, lock: int, log: Log | None = None, isolated: bool = False, ahead: Ahead | None = None
) -> Outcome:
    """Bring one stage up to date: leave it, restore it from DVC's run-cache, or run it.

    Args:
        stage: one of `graph.stages`; those before it must be up to date.
        lock: file descriptor of the run's lock, for a child process.
        log: takes (step, values) while a step trains in this process.
        isolated: run the step in a process of its own.
        ahead: is called before the step runs, and may do parts of its work.

    Raises:
        InputsChanged: an input or a parameter was edited meanwhile. Nothing is recorded; run again.
        Busy: another DVC process uses the stage's files.
        PerennialError: whatever the step itself refuses.
    """
    if not stage.cmd or stage.frozen:
        return _as_dvc_does(graph, stage)
    with bookkeeping(graph, stage.addressing):
        if not stage.changed():
            return "cached"
    with _files_of(graph, stage):  # `dvc repro` at the same time is told that we are busy
        with bookkeeping(graph, stage.addressing):
            before = _inputs(stage)
            stage.remove_outs(ignore_remove=False, force=False)
            restored = restore(stage, graph.pull)
        if not restored:
            if ahead:
                ahead(stage.addressing, arguments_of(stage))
            _run(graph, stage, lock, log, isolated)
        with bookkeeping(graph, stage.addressing):
            _record(graph, stage, before)
    return "restored" if restored else "ran"


def take_stage(graph: Graph, stage: Any) -> Outcome | None:
    """Restore one stage from DVC's caches, and run nothing; None if they lack it: then all stays as it lies.

    Raises:
        BadInput, Busy, PerennialError: as `update_stage`.
    """
    if not stage.cmd or stage.frozen:
        return _as_dvc_does(graph, stage)
    with _files_of(graph, stage), bookkeeping(graph, stage.addressing):
        if not stage.changed():
            return "cached"
        before = _inputs(stage)
        if any(out.exists and out.status() for out in stage.outs) or not restore(stage, graph.pull):
            return None  # an output that DVC does not have would be lost
        _record(graph, stage, before)
    return "restored"


def _run(graph: Graph, stage: Any, lock: int, log: Log | None, isolated: bool) -> None:
    arguments = arguments_of(stage)
    # a module that was edited after it was imported would be recorded with the new bytes, but run with the old
    deps = [Path(dep.fs_path) for dep in stage.deps]
    if isolated or edited(graph.root, graph.code, deps):
        run_isolated(arguments, graph.root, lock)
    else:
        run_step(arguments, log)


def _record(graph: Graph, stage: Any, before: list[Any]) -> None:
    stage.save(run_cache=False)
    after = [dep.hash_info for dep in stage.deps]
    if changed := [dep.def_path for dep, old, new in zip(stage.deps, before, after, strict=True) if old != new]:
        raise InputsChanged(
            f"{stage.addressing} is not recorded: {', '.join(changed)} was edited while it ran. Run again."
        )
    record(stage, graph.root)


def _inputs(stage: Any) -> list[Any]:
    """The hashes of all dependencies, parameters among them, as they are now.

    The stage itself keeps what dvc.lock says: with new inputs beside the old outputs, the run-cache would take
    the old outputs for what these inputs gave.
    """
    if missing := [dep.def_path for dep in stage.deps if not dep.exists]:
        raise BadInput(f"{stage.addressing}: {missing[0]} does not exist.")
    for dep in stage.deps:
        dep.update_legacy_hash_name()  # what dvc.lock does not name yet is hashed as DVC 2 did, until it is saved
    return [dep.get_hash() for dep in stage.deps]


def _as_dvc_does(graph: Graph, stage: Any) -> Outcome:
    """Data that `dvc add` tracks, and frozen stages: there is nothing to run, DVC notes or checks them."""
    with bookkeeping(graph, stage.addressing):
        if stage.is_data_source and not all(out.exists for out in stage.outs):
            stage.checkout()
        if not stage.reproduce():
            return "cached"
        stage.dump(update_pipeline=False)
    return "ran"


@contextmanager
def _files_of(graph: Graph, stage: Any) -> Iterator[None]:
    """DVC's own lock on a stage's files: it reads the dependencies and writes the outputs."""
    from dvc.lock import LockError
    from dvc.rwlock import rwlock

    read, write = ([each.fs_path for each in files] for files in (stage.deps, stage.outs))
    give_up = time.monotonic() + PATIENCE
    with ExitStack() as stack:
        while True:
            lock = rwlock(graph.repo.tmp_dir, graph.repo.fs, " ".join(sys.argv), read, write, False)
            try:
                stack.enter_context(lock)
                break
            except LockError as error:
                if time.monotonic() > give_up:
                    raise busy(stage.addressing, error) from error
            time.sleep(0.2)
        yield
