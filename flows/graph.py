"""The bridge to DVC's own graph: opening it, the order of its stages, and DVC's errors as sentences.

DVC's Python API promises no stability beyond `dvc.api`, so the version is pinned, and what knows `dvc.repo` stands
here, in `states`, `update`, `cache` and `remote`. One `Repo` serves a whole run (opening one per stage doubles the
time), and all bookkeeping happens under one lock, as DVC's own files take no second writer.
"""

import logging
import shlex
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.cache import LOCK
from flows.isolation import code_of
from flows.pretrained import show_models
from tasks.errors import BadInput, Busy, PerennialError
from tasks.strict_yaml import line_of, refuse_conflicts

COMMAND = ["python", "-m", "tasks"]
GRAPH = "dvc.yaml"
CANARY = Path("data/canary")
SETTINGS = "settings"  # the stage that writes params.yaml out with its defaults
TAKE_ONE_SIDE = f"Take one side whole (`git checkout --ours {LOCK}`): `perennial run` does what it lacks"
WITHOUT_LOCK = f"Restore it (`git checkout {LOCK}`), or move it away: `perennial run` does what it lacks."

_BOOKKEEPING = threading.Lock()


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
    config = None if in_git(root) else {"core": {"no_scm": True}}
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


@contextmanager
def bookkeeping(graph: Graph, name: str = GRAPH) -> Iterator[None]:
    """Hold DVC's lock and ours; its errors become sentences about `name`.

    Raises:
        Busy: another DVC process holds it.
        PerennialError: what else DVC refuses.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError

    with _BOOKKEEPING, graph.repo.lock:
        try:
            yield
        except LockError as error:
            raise busy(name, error) from error
        except DvcException as error:
            raise PerennialError(f"{name}: {_sentence(error)}") from error


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


def slice_of(address: str) -> str | None:
    """The slice in a stage's address: 2022 for stage1@2022, None for report."""
    return address.partition("@")[2] or None


def step_of(stage: Any) -> str:
    """The step in a stage's address: stage1 for stage1@2022."""
    return stage.addressing.partition("@")[0]


def busy(name: str, error: Exception) -> Busy:
    """What DVC says about a lock that another process has."""
    who = " ".join(line.strip() for line in str(error).splitlines() if "(PID" in line)
    return Busy(
        f"{name}: its files are in use by another DVC process {who}. Run again when it has ended; "
        "if there is no such process, delete .dvc/tmp/rwlock first."
    )


def _make_canary(root: Path) -> None:
    """An empty folder where a project has no canary: to DVC a dependency that is missing is an error."""
    try:
        (root / CANARY).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{CANARY} must be a folder, and can't be made ({error.strerror}). Mend that first.") from error


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


def in_git(root: Path) -> bool:
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
