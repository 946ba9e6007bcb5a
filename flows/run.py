"""`perennial run`: the whole timeline up to date, through Prefect where there is anything to do."""

import os
import time
import urllib.error
import urllib.request
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from flows import walk
from flows.locks import end_orphaned_server
from flows.progress import Progress
from flows.walk import Run
from tasks.errors import reason_of
from tasks.params import Params, load_params

TIMELINE = Path("reports/timeline.json")
PAGE = Path("reports/index.html")
COST, COST_PAGE = Path("reports/cost"), Path("reports/cost.html")
PREFECT_SETTINGS = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # errors are told once, by the command line
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    "PREFECT_CLIENT_MAX_RETRIES": "2",  # a server that dies on the way costs seconds then, and not minutes
}
SERVER_WAIT = 3.0  # seconds for a Prefect server that was named to answer


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
            # a server takes seconds to start: longer than looking
            run.outcomes.update(dict.fromkeys(run.addresses, "cached"))
            walk.send(run)
            walk.publish(run)
        elif dead := dead_server():
            warn(console, f"No Prefect server answers at {dead}; going on without it.")
            _without_prefect(run)
        else:
            _with_prefect(run, console, verbose)
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


def _with_prefect(run: Run, console: Console, verbose: bool) -> None:
    """Through the flow; if Prefect itself fails on the way, the rest is done without it."""
    prepare_prefect(run.graph.root, verbose)
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from flows.server import NoServer, serving
    from flows.timeline import walk_with_prefect

    tell_of_the_first_start(console)
    try:
        with (
            serving(run.graph.root, verbose),
            temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),  # joining its thread takes a second
        ):
            walk_with_prefect(run)
    except NoServer as error:
        warn(console, f"Prefect's server did not start ({error}); going on without it.")
        _without_prefect(run)
    except Exception as error:
        if run.failed:
            raise
        warn(console, f"Prefect failed ({reason_of(error)}); going on without it.")
        _without_prefect(run)


def warn(console: Console, sentence: str) -> None:
    """Print a sentence about something that the run goes on without."""
    console.print(f"[yellow]{escape(sentence)}[/yellow]", highlight=False, soft_wrap=True)


def prepare_prefect(root: Path, verbose: bool) -> None:
    """Before prefect is imported: what it shall not print, and no server that a kill left behind."""
    for name, value in PREFECT_SETTINGS.items():
        os.environ.setdefault(name, "INFO" if verbose and "LEVEL" in name else value)
    end_orphaned_server(root)


def tell_of_the_first_start(console: Console) -> None:
    """Why nothing is seen for a while, where Prefect has no database yet."""
    from flows.server import has_database

    if not os.environ.get("PREFECT_API_URL") and not has_database():
        console.print(
            "Prefect makes its database; that takes 10 to 30 seconds, this once.", style="dim", highlight=False
        )


def _without_prefect(run: Run) -> None:
    walk.walk(run)
    walk.send(run)
    walk.publish(run)


def dead_server() -> str | None:
    """The address of a Prefect server that PREFECT_API_URL names and that does not answer."""
    address = os.environ.get("PREFECT_API_URL")
    if not address:
        return None
    try:
        urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=SERVER_WAIT).close()
    except urllib.error.HTTPError as error:  # it answers, if only to ask for a password; 502 is a proxy's answer
        return address if error.code >= 500 else None
    except (OSError, ValueError):
        return address
    return None


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
    console.print(
        f"Champion: {published.champion or published.no_champion}. The whole story: {PAGE}. "
        "Talk with it: `perennial chat`.",
        highlight=False,
    )
    if published.problem:
        raise published.problem
