"""What the gate found, rule by rule, as a table."""

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.scoring.verdict import Verdict, figure

STYLES = {"ok": "green", "FAILED": "bold red", "undecided": "yellow"}


def print_verdict(console: Console, name: str, verdict: Verdict) -> None:
    """Print every rule with its value, bound and interval, and below the table the notes of those that do not hold.

    Args:
        console: where to.
        name: the slice.
        verdict: of the gate on the slice's model.
    """
    table = Table(
        title=f"{escape(name)}: {verdict.decision}", title_justify="left", header_style="bold", box=box.SIMPLE_HEAD,
        pad_edge=False, padding=0,
    )  # fmt: skip
    table.add_column("rule", ratio=1)
    for column in ("value", "bound", "interval", "verdict"):
        table.add_column(column, justify="right", no_wrap=True)
    for rule in verdict.rules:
        if not rule.applies:
            table.add_row(rule.name, "-", "-", "-", "[dim]does not apply[/dim]")
            continue
        bound = f"{'at most' if rule.most else 'at least'} {figure(rule.bound)}"
        interval = f"{figure(rule.interval[0])} to {figure(rule.interval[1])}" if rule.interval else "-"
        style = STYLES[rule.decision]
        table.add_row(rule.name, figure(rule.value), bound, interval, f"[{style}]{rule.decision}[/{style}]")
    console.print(table)
    for rule in verdict.rules:
        if rule.decision != "ok":
            console.print(escape(f"{rule.told()}."), style=STYLES[rule.decision], highlight=False, soft_wrap=True)
