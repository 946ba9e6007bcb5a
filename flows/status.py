"""`perennial status`: per slice and step fresh, stale or missing; the champion; the last run."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows import graph as graphs
from flows.locks import is_running
from flows.publish import EVALUATION
from flows.states import StageState, missing_sources, states
from flows.walk import last_run
from tasks.artifact import read_json
from tasks.params import PARAMS, load_params
from tasks.registry import store

COLOURS = {"fresh": "green", "stale": "yellow", "missing": "red"}
OUTCOMES = {
    "completed": "ended well",
    "failed": "failed",
    "interrupted": "was interrupted",
    "running": "was killed",  # unless it still holds the lock
}


def print_status(root: Path, console: Console) -> None:
    """Print what `perennial run` would do."""
    with graphs.opened(root) as graph:
        found, missing = states(graph), missing_sources(graph)
    console.print(_table(found))
    single = [f"{state.step} {_coloured(state)}" for state in found if not state.slice]
    console.print(f"For all slices: {', '.join(single)}", highlight=False, soft_wrap=True)
    console.print(f"Champion: {escape(_champion(root))}", highlight=False, soft_wrap=True)
    if filled := _memory(root):
        console.print(f"Memory: {escape(filled)}", highlight=False, soft_wrap=True)
    console.print(f"Last run: {escape(_last_run(root))}", highlight=False, soft_wrap=True)
    behind = sum(state.state != "fresh" for state in found)
    for name in missing:
        console.print(f"[red]{escape(name)} is missing: a run stops there. Restore it.[/red]", highlight=False)
    if behind:
        console.print(
            f"{behind} of {len(found)} steps are to be done: `perennial run`.", highlight=False, soft_wrap=True
        )


def _table(states: list[StageState]) -> Table:
    steps = list(dict.fromkeys(state.step for state in states if state.slice))
    slices = list(dict.fromkeys(state.slice for state in states if state.slice))
    cells = {(state.slice, state.step): _coloured(state) for state in states}
    table = Table("slice", *steps)
    for name in slices:
        table.add_row(str(name), *(cells.get((name, step), "[dim]-[/dim]") for step in steps))
    return table


def _coloured(state: StageState) -> str:
    return f"[{COLOURS[state.state]}]{state.state}[/]"


def _champion(root: Path) -> str:
    """As the registry says; that it does not answer is another answer than that there is none."""
    from tasks.registry.champion import champion

    try:
        found = champion(store.names_of(load_params(root / PARAMS).registry))
    except store.Unreachable as error:
        return f"unknown. {error}"
    return str(found or "none yet")


def _memory(root: Path) -> str | None:
    """How full the newest solved memory is, as it was measured last; None if there is none."""
    for name in reversed(load_params(root / PARAMS).timeline):
        scores = root / EVALUATION / name / "scores.json"
        if memory := scores.exists() and read_json(scores).get("memory"):
            share, count = memory["rank"] / memory["features"], memory["buckets"]
            lie = f", in {count} buckets" if count > 1 else ""
            return f"{name} takes {memory['rank']:,.0f} of {memory['features']:,} directions ({share:.0%}){lie}"
    return None


def _last_run(root: Path) -> str:
    last = last_run(root)
    if not last:
        return "none yet"
    started = last["started"].replace("T", " ").replace("+00:00", " UTC")
    if last["outcome"] == "running" and is_running(root):
        return f"started {started}, at work now"
    did = f"{last['ran']} ran, {last['restored']} restored, {last['cached']} up to date"
    return f"started {started}, {OUTCOMES[last['outcome']]} after {last['seconds']} s ({did})"
