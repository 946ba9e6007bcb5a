"""`perennial promote` and `rollback`: a person makes a version champion; `perennial history` shows all that were."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.project import clock
from tasks.errors import BadInput, PerennialError, reason_of
from tasks.params import PARAMS, load_params
from tasks.registry import store

COLUMNS = ("version", "slice", "from", "to", "by", "because")


def promote_version(root: Path, version: str, because: str) -> str:
    """Make a version champion, whatever the gate said; what was done, as a sentence.

    Raises:
        BadInput: there is no such version, or no reason.
        PerennialError: MLflow does not answer, or the model is another project's.
    """
    if not because.strip():
        raise BadInput("Say why: `perennial promote VERSION --because REASON`. The reason is kept beside the version.")
    return _chosen(root, version, because)


def roll_back(root: Path, version: str | None, because: str) -> str:
    """Make the champion that was there before this one champion again, or a version; what was done, as a sentence.

    It lasts: no version that is there by now takes its place by itself.

    Raises:
        BadInput: there is no such version, or there was no champion before.
        PerennialError: MLflow does not answer, or the model is another project's.
    """
    return _chosen(root, version, because.strip() or "rolled back")


def print_history(root: Path, console: Console) -> None:
    """Who was champion, from when to when, by whom and why, the newest first.

    Raises:
        BadInput: there was none yet.
        PerennialError: MLflow does not answer.
    """
    from tasks.registry.history import reigns

    try:
        found = reigns(store.names_of(load_params(root / PARAMS).registry))
    except store.failures() as error:
        raise PerennialError(f"Nobody knows the champions now: {reason_of(error)}.") from error
    if not found:
        raise BadInput("No champion is on record yet. `perennial run` publishes, and the gate decides.")
    table = Table(*COLUMNS, box=None, header_style="dim")
    for each in reversed(found):
        until = clock(each.until) if each.until else "now"
        cells = (each.version or "none", each.slice, clock(each.since), until, each.by, each.because)
        table.add_row(*map(escape, cells))
    console.print(table)


def _chosen(root: Path, version: str | None, because: str) -> str:
    from tasks.registry import champion as champions
    from tasks.registry.served import refuse_unservable
    from tasks.registry.versions import find_version

    params, chosen = load_params(root / PARAMS), None
    names = store.names_of(params.registry)
    try:
        client, before = store.connect(), champions.champion(names)
        if version:
            chosen = find_version(client, names, version)
        elif before:
            champions.claim(client, names)  # or nothing may be settled
            champions.settle(client, names)
            chosen = champions.champion_before(client, names)
        if not chosen:
            there = f"The champion is {before}, and none was before it" if before else "No model is champion yet"
            raise BadInput(f"{there}. `perennial promote VERSION --because REASON` takes another.")
        refuse_unservable(chosen, params.gate.served)
        champions.choose(client, names, chosen, because)
        now = champions.champion(names)
    except store.failures() as error:
        raise PerennialError(f"Nothing was changed in MLflow: {reason_of(error)}.") from error
    was = f"; before it was {before}" if before and before != now else ""
    return f"The champion is {now}{was}."
