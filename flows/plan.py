"""`perennial plan`: what a run would take, before anything runs."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from tasks.params import PARAMS, load_params
from tasks.planning import plan_of


def print_plan(root: Path, console: Console) -> None:
    """Print what the timeline in params.yaml takes, and whether it fits."""
    params = load_params(root / PARAMS)
    plan = plan_of(params, root)
    table = Table("", params.pretrain.model)
    for words, value in plan.lines:
        table.add_row(words, value)
    console.print(table)
    console.print(f"It does not fit. {plan.problem}" if plan.problem else "It fits.", highlight=False, soft_wrap=True)
