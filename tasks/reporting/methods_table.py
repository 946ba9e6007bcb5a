"""The table that `perennial methods` ends with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.reporting.summary import number, percent

FAILED = "failed"
UNKNOWN = "-"
WIDE = 110  # characters from which on the deviations have room
MARKS = {"default": "default", "bound": "bound", "naive": "newest only"}
GAP, EDGES = 2, 3  # characters between columns, and around the first


@dataclass(frozen=True)
class Column:
    """One figure of an entry: its key in methods.json, its title, how it is written, and whether more is better."""

    key: str
    title: str
    write: Callable[[float | None], str]
    more: bool
    spread: bool = False  # the deviation over seeds is worth its room


def kilobytes(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value / 1000:.0f}" if value < 1e6 else f"{value / 1000:,.0f}"


def three_digits(value: float | None) -> str:
    """Three significant digits, two below 1; no exponent from a ten-thousandth on."""
    if value is None:
        return UNKNOWN
    if value < 0.1:
        return f"{value:.2g}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def whole_percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100 * value:.0f}"


# in the order of the table
COLUMNS = (
    Column("accuracy", "all", percent, True, True),
    Column("paraphrase_accuracy", "reworded", percent, True, True),
    Column("everyday_accuracy", "everyday", percent, True),
    Column("new", "new", percent, True),
    Column("updated", "updated", percent, True),
    Column("retained", "retained", percent, True, True),
    Column("stale", "stale", percent, False),
    Column("average_accuracy", "average", percent, True),
    Column("average_incremental_accuracy", "incremental", percent, True),
    Column("forgetting", "forgetting", percent, False),
    Column("backward_transfer", "back", percent, True),
    Column("forward_transfer", "forward", percent, True),
    Column("perplexity", "ppl", number, False),
    Column("seconds", "s", three_digits, False),
    Column("tflops", "TFLOP", three_digits, False),
    Column("of_joint_accuracy", "% acc", percent, True),
    Column("of_joint_tflops", "% cost", whole_percent, False),
    Column("peak_memory_mb", "MiB", three_digits, False),
    Column("stored_bytes", "kB", kilobytes, False),
)
# what a narrow terminal shows first
FIRST = (
    "accuracy", "retained", "new", "tflops", "paraphrase_accuracy", "of_joint_accuracy", "of_joint_tflops", "updated",
    "everyday_accuracy", "stale", "seconds", "stored_bytes", "forgetting", "peak_memory_mb", "perplexity",
    "forward_transfer", "backward_transfer", "average_accuracy", "average_incremental_accuracy",
)  # fmt: skip


def in_order(comparison: dict[str, Any]) -> list[str]:
    """The entries' names: the bound, then by final accuracy, the newest slice alone last but for what failed."""

    def key(name: str) -> tuple[int, float]:
        mean = comparison["entries"][name]["mean"]
        place = 0 if name == comparison["bound"] else 2 if name == comparison["naive"] else 1
        return (place if mean else 3, -(mean.get("accuracy") or 0.0))

    return sorted(comparison["entries"], key=key)


def best_of(comparison: dict[str, Any], column: Column) -> str | None:
    """How the best figure of a column is written; the two references don't compete."""
    values = [
        each["mean"][column.key]
        for name, each in comparison["entries"].items()
        if each["mean"]
        and name not in (comparison["bound"], comparison["naive"])
        and each["mean"][column.key] is not None
    ]
    return column.write((max if column.more else min)(values)) if values else None


def cell(each: dict[str, Any], column: Column, spread: bool) -> str:
    """A figure, with its deviation over the seeds if that is known and asked for."""
    value = each["mean"][column.key]
    deviation = each["spread"][column.key]
    text = column.write(value)
    return f"{text} ±{column.write(deviation)}" if spread and column.spread and deviation is not None else text


def name_of(comparison: dict[str, Any], name: str) -> str:
    """The name with its marks: the default, what it is the reference for, and fewer seeds than others."""
    marks = [mark for key, mark in MARKS.items() if name == comparison[key]]
    seeds = len(comparison["entries"][name]["seeds"])
    if 0 < seeds < count_of_seeds(comparison):
        marks.append(f"{seeds} seed{'s' if seeds > 1 else ''}")
    return f"{name} ({', '.join(marks)})" if marks else name


def count_of_seeds(comparison: dict[str, Any]) -> int:
    return max((len(each["seeds"]) for each in comparison["entries"].values()), default=0)


def print_table(console: Console, comparison: dict[str, Any]) -> None:
    """Print as many columns as the terminal has room for."""
    names = in_order(comparison)
    if not names:
        return
    spread = console.width >= WIDE
    columns = _that_fit(comparison, names, console.width, spread)
    table = Table(
        title=_title(comparison), title_justify="left", header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False,
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    table.add_column("method", no_wrap=True)
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    best = {column.key: best_of(comparison, column) for column in columns}
    for name in names:
        each = comparison["entries"][name]
        if not each["mean"]:
            table.add_row(name, f"[red]{FAILED}[/red]")
            continue
        reference = name in (comparison["bound"], comparison["naive"])
        cells = []
        for column in columns:
            text = cell(each, column, spread)
            is_best = not reference and column.write(each["mean"][column.key]) == best[column.key]
            cells.append(f"[bold green]{text}[/bold green]" if is_best else text)
        shown = escape(name_of(comparison, name))
        table.add_row(
            f"[bold]{shown}[/bold]" if name == comparison["default"] else shown,
            *cells,
            style="dim" if reference else None,
        )
    console.print(table)
    console.print(_legend(comparison, columns), style="dim", highlight=False)
    for name in names:
        for seed, reason in comparison["entries"][name][FAILED].items():
            console.print(f"[red]{escape(f'{name}, seed {seed}, failed: {reason}')}[/red]", highlight=False)


def _that_fit(comparison: dict[str, Any], names: list[str], width: int, spread: bool) -> list[Column]:
    left = width - max(len(name_of(comparison, name)) for name in names) - EDGES
    chosen = set()
    for key in FIRST:
        column = next(each for each in COLUMNS if each.key == key)
        cells = [cell(each, column, spread) for each in comparison["entries"].values() if each["mean"]]
        needed = max(map(len, [column.title, *cells])) + GAP
        if needed <= left:
            chosen.add(key)
            left -= needed
    return [column for column in COLUMNS if column.key in chosen]


def _title(comparison: dict[str, Any]) -> str:
    seeds = count_of_seeds(comparison)
    count = "1 seed" if seeds == 1 else f"{seeds} seeds"
    return f"After {comparison['slices'][-1]}, {comparison['steps']} steps per slice, mean of {count}"


LEGEND = {
    "accuracy": "all: every fact true at the end",
    "paraphrase_accuracy": "reworded: the same in a wording not trained on",
    "everyday_accuracy": "everyday: the same as people type",
    "new": "new, updated, stale: mean over the slices",
    "retained": "retained: older facts, at the end",
    "seconds": "s: per slice",
    "tflops": "TFLOP: of training, all slices after the first",
    "of_joint_accuracy": "% acc, %\u00a0cost: of the bound's, {bound}",
    "peak_memory_mb": "MiB: peak memory",
    "stored_bytes": "kB: kept for the next slice beside the model",
    "perplexity": "ppl: perplexity",
}


def of_bound(comparison: dict[str, Any]) -> str:
    """What the bound's cost hangs on: a share of it is a figure only together with these steps."""
    return f"which trains {comparison['joint']:g} x {comparison['steps']} steps for every slice so far"


def _legend(comparison: dict[str, Any], columns: list[Column]) -> str:
    shown = {column.key for column in columns}
    texts = (text.format(bound=of_bound(comparison)) for key, text in LEGEND.items() if key in shown)
    return f"Right answers in %. {'; '.join(texts)}."
