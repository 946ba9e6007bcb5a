"""`perennial methods`, the command: trains what is missing, then writes, prints and publishes the report."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console

from flows.comparing import EXAMPLES, WORK, Comparing, Pair
from flows.locks import only_run
from flows.progress import Progress, warn
from flows.server import through_prefect
from flows.walk import bring_examples
from tasks import artifact
from tasks.errors import BadInput, PerennialError, reason_of
from tasks.params import PARAMS, Params, load_params
from tasks.registry import store
from tasks.reporting.kept_plot import draw_kept
from tasks.reporting.methods_page import render_methods
from tasks.reporting.methods_plots import draw_methods
from tasks.reporting.methods_table import print_table
from tasks.scoring.comparison import gather_comparison

TABLE, PAGE, PLOTS = Path("reports/methods.json"), Path("reports/methods.html"), Path("reports/methods")


class SomeFailed(PerennialError):
    """Entries of the comparison failed, each for a reason that was told; the others are in the table."""


def compare_methods(root: Path, console: Console, names: list[str], seeds: list[int], verbose: bool = False) -> None:
    """Do what is missing of the comparison, write its report, and print the table.

    Args:
        root: the project's folder.
        console: where to print.
        names: entries of params.yaml's comparison; all of them if there are none here.
        seeds: those of params.yaml if there are none here.
        verbose: show Prefect's own log.

    Raises:
        BadInput: there is no entry of such a name.
        Busy: another command is at work.
        SomeFailed: an entry could not be trained or scored. The report is written nevertheless.
    """
    started = time.monotonic()
    params = load_params(root / PARAMS)
    entries = params.comparison.entries
    if unknown := [name for name in names if name not in entries]:
        raise BadInput(f"There is no method '{unknown[0]}'. Known: {', '.join(entries)}.")
    seeds = list(dict.fromkeys(seeds or params.comparison.seeds))
    wanted = [(name, seed) for seed in seeds for name in (dict.fromkeys(names) or entries)]
    with Progress(console) as progress, only_run(root, "methods") as lock:
        bring_examples(root, params.timeline, lock, progress)
        finished = _finished(root, params, wanted)
        todo = [pair for pair in wanted if pair not in finished]
        comparing = Comparing(root, params, lock, progress, todo)
        if todo:
            _compare(comparing, console, verbose)
            finished = _finished(root, params, wanted)
        warning = _report(root, params, finished, comparing.failed, console)
    left = len(wanted) - len(todo)
    outcome = f"{left} of {len(wanted)} were finished, {len(comparing.done)} trained"
    outcome += f", {len(comparing.failed)} failed" if comparing.failed else ""
    console.print(f"{outcome} ({time.monotonic() - started:.1f} s).", highlight=False)
    console.print(f"More: {PAGE}, {TABLE}.", highlight=False)
    if warning:
        warn(console, warning)
    if comparing.failed:
        who = ", ".join(f"{name} (seed {seed})" for name, seed in comparing.failed)
        raise SomeFailed(f"Failed: {who}. The same command tries them again.")


def _finished(root: Path, params: Params, wanted: list[Pair]) -> dict[Pair, list[Path]]:
    """The slices' folders of all that is finished, whether this call asked for it or an earlier one."""
    from tasks import comparison

    seeds = dict.fromkeys([*params.comparison.seeds, *(seed for _, seed in wanted)])
    found = {}
    for seed in seeds:
        for name in params.comparison.entries:
            if folders := comparison.results(name, params, seed, root / EXAMPLES, root / WORK):
                found[name, seed] = folders
    return found


def _compare(comparing: Comparing, console: Console, verbose: bool) -> None:
    def flow() -> None:
        from flows.mapping import compare_with_prefect

        compare_with_prefect(comparing)

    through_prefect(flow, console, verbose)
    _without_prefect(comparing)


def _without_prefect(comparing: Comparing) -> None:
    """What is left, in threads of our own; nothing, if Prefect did all."""
    left = comparing.left
    if not left:
        return
    with ThreadPoolExecutor(comparing.params.comparison.processes) as pool:
        try:
            list(pool.map(comparing.share, dict.fromkeys(seed for _, seed in left)))
            list(pool.map(lambda pair: comparing.take(*pair), left))
        except BaseException:
            comparing.stop()
            raise


def _report(
    root: Path, params: Params, finished: dict[Pair, list[Path]], failed: dict[Pair, str], console: Console
) -> str | None:
    """Write reports/methods.json, its plots and page; print the table; publish. A sentence if that must wait."""
    comparison = gather_comparison(params, finished, failed)
    with artifact.writing(root / PLOTS) as folder:
        draw_methods(comparison, folder)
        draw_kept(comparison, folder)
    artifact.write_file(root / PAGE, render_methods(comparison, root / PLOTS).encode())
    artifact.write_file(root / TABLE, artifact.json_text(comparison).encode())
    print_table(console, comparison)
    return _publish(root, params, comparison)


def _publish(root: Path, params: Params, comparison: dict[str, Any]) -> str | None:
    """Log the comparison to MLflow, unless that was done; why it was not, if a server is away."""
    try:
        from tasks.registry.comparison import publish_comparison

        names, plots = store.names_of(params.registry), sorted((root / PLOTS).glob("*.png"))
        publish_comparison(store.connect(), names, comparison, [root / TABLE, root / PAGE], plots)
    except store.failures() as error:
        return f"Nothing was published to MLflow: {reason_of(error)}. The next `perennial methods` publishes."
    return None
