"""`perennial run`, the command: the whole timeline up to date, shown in Prefect where the user has a server of it."""

import time
from pathlib import Path
from typing import Any

from rich.console import Console

from flows import walk
from flows.progress import Progress, warn
from flows.server import through_prefect
from flows.walk import Run
from tasks.params import SMALL, Params, load_params

TIMELINE = Path("reports/timeline.json")
PAGE = Path("reports/index.html")
COST, COST_PAGE = Path("reports/cost"), Path("reports/cost.html")


def run_timeline(
    root: Path, console: Console, isolated: bool = False, verbose: bool = False, sync: bool | None = None
) -> None:
    """Bring every stale stage up to date, publish the models, and print the table.

    Args:
        root: the project's folder.
        console: where to print.
        isolated: run each step in a process of its own.
        verbose: show Prefect's own log.
        sync: with the DVC remote; None: as params.yaml says.

    Raises:
        PerennialError: a step refused, or another run is at work.
    """
    started = time.monotonic()
    with (
        Progress(console, totals_of(load_params())) as progress,
        walk.opened(root, progress, isolated=isolated, sync=sync) as run,
    ):
        if not walk.anything_to_do(run):
            walk.leave(run)  # to import prefect takes longer than looking
            walk.send(run)
            walk.publish(run)
        else:
            _refuse_too_large(root)
            _bring_up_to_date(run, console, verbose)
    console.print(_told(run, time.monotonic() - started), highlight=False)
    if run.pushed is not None:
        console.print(f"Pushed {run.pushed} files to the DVC remote.", highlight=False)
    _write_costs()
    _print_table(run, console)


def bring_report_up_to_date(root: Path, console: Console) -> Path:
    """Make what reports/index.html needs, and return its path; nothing is published."""
    with (
        Progress(console, totals_of(load_params())) as progress,
        walk.opened(root, progress, targets=("report",)) as run,
    ):
        walk.walk(run)
    _write_costs()
    return root / PAGE


def totals_of(params: Params) -> dict[str, int]:
    """How many steps the steps that train take."""
    return {
        "pretrain": params.pretrain.steps,
        "stage1": params.stage1.steps,
        "naive": params.stage1.steps,
        "stage2": params.stage2.epochs,
    }


def _refuse_too_large(root: Path) -> None:
    params = load_params()
    if params.pretrain.model != SMALL:
        from tasks.planning import refuse_what_does_not_fit

        refuse_what_does_not_fit(params, root)


def _bring_up_to_date(run: Run, console: Console, verbose: bool) -> None:
    """As a flow run where the user has a Prefect server; what that has not done, without."""

    def flow() -> None:
        from flows.timeline import walk_with_prefect

        walk_with_prefect(run)

    if not through_prefect(flow, console, verbose, ours=lambda: run.failed):
        walk.walk(run)
        walk.send(run)
        if not run.published:
            walk.publish(run)


def _told(run: Run, seconds: float) -> str:
    ran, restored, total = run.count("ran"), run.count("restored"), len(run.outcomes)
    if ran + restored == 0:
        return f"All {total} steps were up to date ({seconds:.1f} s)."
    parts = [f"{ran} ran"] + ([f"{restored} restored"] if restored else [])
    return f"{run.count('cached')} of {total} steps were up to date, {', '.join(parts)} ({seconds:.1f} s)."


def _write_costs() -> None:
    """Bring the page of what the steps cost up to date; it is no stage's, as it is another one on every machine."""
    latest = max((path.stat().st_mtime for path in COST.glob("*/*.json")), default=None)
    if not latest or not TIMELINE.exists() or (COST_PAGE.exists() and COST_PAGE.stat().st_mtime >= latest):
        return
    from tasks.reporting.cost import write_cost_page

    write_cost_page(COST, TIMELINE, COST_PAGE)


def _print_table(run: Run, console: Console) -> None:
    if TIMELINE.exists():
        from tasks.reporting.summary import print_summary

        print_summary(console, TIMELINE)
    if not (published := run.published):
        return
    for name, reason in published.refused.items():
        warn(console, f"{name} was not accepted: {reason}")
    if published.decisions and published.problem:
        _print_verdict(*list(published.decisions.items())[-1], console)
    console.print(
        f"Champion: {published.champion or published.no_champion}. The whole story: {PAGE}. "
        "Talk with it: `perennial chat`.",
        highlight=False,
    )
    if published.problem:
        raise published.problem


def _print_verdict(name: str, decision: dict[str, Any], console: Console) -> None:
    from tasks.reporting.verdict import print_verdict
    from tasks.scoring.verdict import verdict_in

    if verdict := verdict_in(decision):
        print_verdict(console, name, verdict)
