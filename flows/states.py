"""What is fresh, stale or missing: looking, which disturbs no run and writes nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flows.graph import SETTINGS, Graph, bookkeeping, needed_by, slice_of, step_of
from tasks.artifact import read_json
from tasks.params import PARAMS, load_params

State = Literal["fresh", "stale", "missing"]


@dataclass(frozen=True)
class StageState:
    """One stage as `perennial status` shows it."""

    address: str
    step: str
    slice: str | None
    state: State


def states(graph: Graph) -> list[StageState]:
    """What is fresh, stale or missing; a stage behind one that is not fresh is stale, too.

    Takes no lock on the stages' files, so that looking never disturbs a run, and writes none: a stage is compared with
    the settings as the next run would write them.
    """
    found: dict[str, State] = {}
    settings = _settings(graph)
    with bookkeeping(graph):
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
        StageState(stage.addressing, step_of(stage), slice_of(stage.addressing), found[stage.addressing])
        for stage in graph.stages
        if stage.cmd
    ]


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


def _settings(graph: Graph) -> dict[str, dict[str, Any]]:
    """What the file of settings would hold, by its path; nothing in a graph without that stage."""
    paths = [out.fs_path for stage in graph.stages if step_of(stage) == SETTINGS for out in stage.outs]
    return dict.fromkeys(paths, load_params(graph.root / PARAMS).model_dump(mode="json")) if paths else {}


def _differs(stage: Any, settings: dict[str, dict[str, Any]]) -> bool:
    if step_of(stage) == SETTINGS:
        return any(read_json(Path(path)) != values for path, values in settings.items())
    if stage.changed_stage() or any(out.status() for out in stage.outs):
        return True
    return not stage.frozen and any(_changed(dep, settings) for dep in stage.deps)


def _changed(dep: Any, settings: dict[str, dict[str, Any]]) -> bool:
    if dep.fs_path not in settings:
        return bool(dep.status())
    now = settings[dep.fs_path]
    return dep.hash_info.value != {name: now.get(name) for name in dep.params}
