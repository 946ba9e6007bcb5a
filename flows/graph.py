"""The bridge to DVC's own graph: what is stale, and how a stage is brought up to date and recorded.

DVC's Python API promises no stability beyond `dvc.api`, so the version is pinned and everything that knows
`dvc.repo` stands here. One `Repo` serves a whole run (opening one per stage doubles the time), and all
bookkeeping happens under one lock, as DVC's own files take no second writer. A stage is recorded only after its
inputs were found to be what they were when it started: DVC alone would note the parameters of the end for the
outputs of the beginning. Nothing is ever committed that did not run.
"""

import logging
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from flows.cache import LOCK, record, restore
from flows.isolation import code_of, edited, run_isolated
from flows.pretrained import show_models
from tasks.artifact import read_json
from tasks.errors import BadInput, Busy, PerennialError
from tasks.params import PARAMS, load_params
from tasks.steps import Log, run_step
from tasks.strict_yaml import line_of, refuse_conflicts

Outcome = Literal["cached", "restored", "ran"]
State = Literal["fresh", "stale", "missing"]
COMMAND = ["python", "-m", "tasks"]
GRAPH = "dvc.yaml"
CANARY = Path("data/canary")
SETTINGS = "settings"  # the stage that writes params.yaml out with its defaults
TAKE_ONE_SIDE = f"Take one side whole (`git checkout --ours {LOCK}`): `perennial run` does what it lacks"
WITHOUT_LOCK = f"Restore it (`git checkout {LOCK}`), or move it away: `perennial run` does what it lacks."
PATIENCE = 30.0  # seconds that a short `dvc status` elsewhere is waited for

_BOOKKEEPING = threading.Lock()


class InputsChanged(PerennialError):
    """An input of a stage was edited while the stage ran, so its output is not recorded."""


@dataclass(frozen=True)
class StageState:
    """One stage as `perennial status` shows it."""

    address: str
    step: str
    slice: str | None
    state: State


@dataclass
class Graph:
    """DVC's graph, open for one run."""

    repo: Any
    root: Path
    stages: list[Any]  # dependencies first, slice after slice
    code: dict[Path, str] = field(default_factory=dict)  # SHA-256 of every module as this process knows it
    pull: bool = False  # what DVC's cache lacks, its remote is asked for


@contextmanager
def opened(root: Path, targets: tuple[str, ...] = ()) -> Iterator[Graph]:
    """Open the graph, or the part of it that `targets` (stage addresses or outputs) need.

    Raises:
        BadInput: dvc.yaml or params.yaml is wrong, or a target is unknown.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    _quiet()
    _refuse_unreadable(root)
    show_models(root)
    _make_canary(root)
    config = None if _in_git(root) else {"core": {"no_scm": True}}
    with ExitStack() as stack:
        try:
            repo = stack.enter_context(Repo(str(root), config=config, _wait_for_lock=True))
            stages = _in_order(repo, targets)
        except DvcException as error:
            place = _place(error)
            mend = f" {WITHOUT_LOCK}" if place.startswith(LOCK) else ""
            raise BadInput(f"{place}: {_sentence(error)}{mend}") from error
        if not stages:
            raise BadInput(f"{GRAPH} has no stages. Restore it (`git checkout {GRAPH}`).")
        yield Graph(repo, root, stages, code_of(root))


def _make_canary(root: Path) -> None:
    """An empty folder where a project has no canary: to DVC a dependency that is missing is an error."""
    try:
        (root / CANARY).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{CANARY} must be a folder, and can't be made ({error.strerror}). Mend that first.") from error


def slice_of(address: str) -> str | None:
    """The slice in a stage's address: 2022 for stage1@2022, None for report."""
    return address.partition("@")[2] or None


def states(graph: Graph) -> list[StageState]:
    """What is fresh, stale or missing; a stage behind one that is not fresh is stale, too.

    Takes no lock on the stages' files, so that looking never disturbs a run, and writes none: a stage is compared with
    the settings as the next run would write them.
    """
    found: dict[str, State] = {}
    settings = _settings(graph)
    with _BOOKKEEPING, graph.repo.lock:
        for stage in graph.stages:
            needed = [address for address in needed_by(graph, stage) if address != SETTINGS]
            behind = any(found.get(address, "fresh") != "fresh" for address in needed)
            if not all(out.exists for out in stage.outs):
                found[stage.addressing] = "missing"
            elif behind or _differs(stage, settings):
                found[stage.addressing] = "stale"
            else:
                found[stage.addressing] = "fresh"
    return [
        StageState(stage.addressing, _step_of(stage), slice_of(stage.addressing), found[stage.addressing])
        for stage in graph.stages
        if stage.cmd
    ]


def bring_settings(graph: Graph, lock: int) -> None:
    """Write params.yaml out with its defaults, before anybody asks what differs: that takes milliseconds."""
    for stage in graph.stages:
        if _step_of(stage) == SETTINGS:
            update(graph, stage, lock)


def missing_sources(graph: Graph) -> list[str]:
    """What the stages read and no stage makes, and is not there: a run would stop at it."""
    made = [Path(out.fs_path) for stage in graph.repo.index.stages for out in stage.outs]
    absent = {
        dep.def_path: Path(dep.fs_path)
        for stage in graph.stages
        for dep in stage.deps
        if dep.fs_path and not dep.exists
    }
    return sorted(
        name
        for name, path in absent.items()
        if not any(path.is_relative_to(out) or out.is_relative_to(path) for out in made)
    )


def update(graph: Graph, stage: Any, lock: int, log: Log | None = None, isolated: bool = False) -> Outcome:
    """Bring one stage up to date: leave it, restore it from DVC's run-cache, or run it.

    Args:
        stage: one of `graph.stages`; those before it must be up to date.
        lock: file descriptor of the run's lock, for a child process.
        log: takes (step, values) while a step trains in this process.
        isolated: run the step in a process of its own.

    Raises:
        InputsChanged: an input or a parameter was edited meanwhile. Nothing is recorded; run again.
        Busy: another DVC process uses the stage's files.
        PerennialError: whatever the step itself refuses.
    """
    if not stage.cmd or stage.frozen:
        return _as_dvc_does(graph, stage)
    with _bookkeeping(graph, stage):
        if not stage.changed():
            return "cached"
    with _files_of(graph, stage):  # `dvc repro` at the same time is told that we are busy
        with _bookkeeping(graph, stage):
            before = _inputs(stage)
            stage.remove_outs(ignore_remove=False, force=False)
            restored = restore(stage, graph.pull)
        if not restored:
            _run(graph, stage, lock, log, isolated)
        with _bookkeeping(graph, stage):
            _record(graph, stage, before)
    return "restored" if restored else "ran"


def take(graph: Graph, stage: Any) -> Outcome | None:
    """Restore one stage from DVC's caches, and run nothing; None if they lack it: then all stays as it lies.

    Raises:
        BadInput, Busy, PerennialError: as `update`.
    """
    if not stage.cmd or stage.frozen:
        return _as_dvc_does(graph, stage)
    with _files_of(graph, stage), _bookkeeping(graph, stage):
        if not stage.changed():
            return "cached"
        before = _inputs(stage)
        if any(out.exists and out.status() for out in stage.outs) or not restore(stage, graph.pull):
            return None  # an output that DVC does not have would be lost
        _record(graph, stage, before)
    return "restored"


def needed_by(graph: Graph, stage: Any) -> list[str]:
    """The addresses of the stages whose outputs a stage needs."""
    return [each.addressing for each in graph.repo.index.graph.successors(stage)]  # DVC's edges point that way


def arguments_of(stage: Any) -> list[str]:
    """A stage's `cmd` without `python -m tasks`: the step and its paths.

    Raises:
        BadInput: the command is another one.
    """
    words = shlex.split(stage.cmd)
    if words[:3] != COMMAND:
        raise BadInput(f"dvc.yaml: {stage.addressing}: cmd must be `{' '.join(COMMAND)} STEP --name path ...`.")
    return words[3:]


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
    return [dep.get_hash() for dep in stage.deps]


def _as_dvc_does(graph: Graph, stage: Any) -> Outcome:
    """Data that `dvc add` tracks, and frozen stages: there is nothing to run, DVC notes or checks them."""
    with _bookkeeping(graph, stage):
        if stage.is_data_source and not all(out.exists for out in stage.outs):
            stage.checkout()
        if not stage.reproduce():
            return "cached"
        stage.dump(update_pipeline=False)
    return "ran"


@contextmanager
def _bookkeeping(graph: Graph, stage: Any) -> Iterator[None]:
    from dvc.exceptions import DvcException
    from dvc.lock import LockError

    with _BOOKKEEPING, graph.repo.lock:
        try:
            yield
        except LockError as error:
            raise _busy(stage, error) from error
        except DvcException as error:
            raise PerennialError(f"{stage.addressing}: {_sentence(error)}") from error


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
                    raise _busy(stage, error) from error
            time.sleep(0.2)
        yield


def _busy(stage: Any, error: Exception) -> Busy:
    who = " ".join(line.strip() for line in str(error).splitlines() if "(PID" in line)
    return Busy(
        f"{stage.addressing}: its files are in use by another DVC process {who}. Run again when it has ended; "
        "if there is no such process, delete .dvc/tmp/rwlock first."
    )


def _settings(graph: Graph) -> dict[str, dict[str, Any]]:
    """What the file of settings would hold, by its path; nothing in a graph without that stage."""
    paths = [out.fs_path for stage in graph.stages if _step_of(stage) == SETTINGS for out in stage.outs]
    return dict.fromkeys(paths, load_params(graph.root / PARAMS).model_dump(mode="json")) if paths else {}


def _differs(stage: Any, settings: dict[str, dict[str, Any]]) -> bool:
    if _step_of(stage) == SETTINGS:
        return any(read_json(Path(path)) != values for path, values in settings.items())
    if stage.changed_stage() or any(out.status() for out in stage.outs):
        return True
    return not stage.frozen and any(_changed(dep, settings) for dep in stage.deps)


def _changed(dep: Any, settings: dict[str, dict[str, Any]]) -> bool:
    if dep.fs_path not in settings:
        return bool(dep.status())
    now = settings[dep.fs_path]
    return dep.hash_info.value != {name: now.get(name) for name in dep.params}


def _step_of(stage: Any) -> str:
    return stage.addressing.partition("@")[0]


def _in_order(repo: Any, targets: tuple[str, ...]) -> list[Any]:
    """Dependencies first; where there is a choice, the older slice first, then the order of dvc.yaml."""
    import networkx

    graph = repo.index.graph
    if targets:
        wanted = {stage for target in targets for stage in repo.stage.collect(target)}
        graph = graph.subgraph(wanted.union(*(networkx.descendants(graph, stage) for stage in wanted)))
    slices = list(dict.fromkeys(slice_of(stage.addressing) or "" for stage in repo.index.stages))
    place = {stage: number for number, stage in enumerate(repo.index.stages)}

    def key(stage: Any) -> tuple[int, int]:
        name = slice_of(stage.addressing)
        return (slices.index(name) if name else -1, place[stage])

    return list(networkx.lexicographical_topological_sort(graph.reverse(), key=key))


def _in_git(root: Path) -> bool:
    return any((folder / ".git").exists() for folder in (root, *root.parents))


def _quiet() -> None:
    for name in ("dvc", "dvc_data", "dvc_objects"):
        if logging.getLogger(name).level < logging.CRITICAL:
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _refuse_unreadable(root: Path) -> None:
    """Of DVC's own files: it tells a merge that was not finished as an error of YAML, and a folder as a wrong name."""
    if (root / LOCK).is_dir():
        raise BadInput(f"{LOCK} is a folder. {WITHOUT_LOCK}")
    for path in (root / LOCK, root / GRAPH, *sorted(root.glob("data/raw/*.dvc"))):
        mend = TAKE_ONE_SIDE if path.name == LOCK else "Keep one side, and delete the lines of markers"
        if path.is_file():
            refuse_conflicts(path.read_text(encoding="utf-8", errors="replace"), path.relative_to(root), mend)


def _place(error: BaseException) -> str:
    """The file that DVC could not read, and the line where its parser stopped."""
    file, line, inner = "", "", error
    while inner:
        file = file or str(getattr(inner, "path", None) or "")
        line = line or line_of(inner)
        inner = inner.__cause__  # type: ignore[assignment]
    return f"{file.removeprefix('./') or GRAPH}{line}"


def _sentence(error: Exception) -> str:
    """The innermost reason of one of DVC's chained errors, as one line."""
    while error.__cause__ and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return " ".join(str(error).split()).removesuffix(".") + "."
