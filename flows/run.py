"""`perennial run`, the command: the whole timeline up to date, shown in Prefect where the user has a server of it."""

import time
from pathlib import Path

from rich.console import Console

from flows import walk
from flows.progress import Progress, warn
from flows.server import through_prefect
from flows.walk import Run
from tasks.params import Params, load_params

TIMELINE = Path("reports/timeline.json")
PAGE = Path("reports/index.html")


def run_timeline(root: Path, console: Console, isolated: bool = False, verbose: bool = False) -> None:
    """Bring every stale stage up to date, publish the models, and print the table.

    Raises:
        PerennialError: a step refused, or another run is at work.
    """
    started = time.monotonic()
    with (
        Progress(console, totals_of(load_params())) as progress,
        walk.opened(root, progress, isolated=isolated) as run,
    ):
        if not walk.anything_to_do(run):
            # to import prefect takes longer than looking
            run.outcomes.update(dict.fromkeys(run.addresses, "cached"))
            walk.publish(run)
        else:
            _bring_up_to_date(run, console, verbose)
    console.print(_told(run, time.monotonic() - started), highlight=False)
    _print_table(run, console)


def bring_report_up_to_date(root: Path, console: Console) -> Path:
    """Make what reports/index.html needs, and return its path; nothing is published."""
    with (
        Progress(console, totals_of(load_params())) as progress,
        walk.opened(root, progress, targets=("report",)) as run,
    ):
        walk.walk(run)
    return root / PAGE


def totals_of(params: Params) -> dict[str, int]:
    """How many steps the steps that train take."""
    return {
        "pretrain": params.pretrain.steps,
        "stage1": params.stage1.steps,
        "naive": params.stage1.steps,
        "stage2": params.stage2.epochs,
    }


def _bring_up_to_date(run: Run, console: Console, verbose: bool) -> None:
    """As a flow run where the user has a Prefect server; what that has not done, without."""

    def flow() -> None:
        from flows.timeline import walk_with_prefect

        walk_with_prefect(run)

    if not through_prefect(flow, console, verbose, ours=lambda: run.failed):
        walk.walk(run)
        if not run.published:
            walk.publish(run)


def _told(run: Run, seconds: float) -> str:
    ran, restored, total = run.count("ran"), run.count("restored"), len(run.outcomes)
    if ran + restored == 0:
        return f"All {total} steps were up to date ({seconds:.1f} s)."
    parts = [f"{ran} ran"] + ([f"{restored} restored"] if restored else [])
    return f"{run.count('cached')} of {total} steps were up to date, {', '.join(parts)} ({seconds:.1f} s)."


def _print_table(run: Run, console: Console) -> None:
    if TIMELINE.exists():
        from tasks.reporting.summary import print_summary

        print_summary(console, TIMELINE)
    if not (published := run.published):
        return
    if published.warning:
        warn(console, published.warning)
    for name, reason in (published.reasons or {}).items():
        warn(console, f"{name} was not accepted: {reason}")
    champion = f"Champion: {published.champion or 'none yet'}."
    console.print(f"{champion} The whole story: {PAGE}. Talk with it: `perennial chat`.", highlight=False)
