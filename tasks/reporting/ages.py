"""How models age: a table on the terminal, and the picture."""

from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tasks.reporting.plots import BLUE, LINE, STYLE, WIDTH, plt
from tasks.reporting.summary import number


def print_ages(console: Console, found: dict[str, Any]) -> None:
    """Print what reports/ages.json holds."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("model after")
    for name in found["slices"]:
        table.add_column(f"text of {name}", justify="right")
    for place, (name, row) in enumerate(zip(found["slices"], found["perplexity"], strict=True)):
        cells = [number(value) for value in row]
        cells[place] = f"[bold]{cells[place]}[/bold]"
        table.add_row(name, *cells)
    console.print(table)
    console.print("Perplexity of texts that no slice is trained on; bold: of the model's own time.", highlight=False)
    for each in found["curve"]:
        console.print(
            f"{each['ahead']} {found['unit']} ahead: {each['ratio']:.2f} times that of the text's own model "
            f"(mean of {each['pairs']})",
            highlight=False,
        )


def draw_ages(found: dict[str, Any], path: Path) -> None:
    """Draw the curve: the further a text is ahead, the more surprising it is to a model that stays as it was."""
    ahead = [each["ahead"] for each in found["curve"]]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 3.4), layout="constrained")
        axes.axhline(1.0, color=LINE, lw=1.2)
        axes.plot(ahead, [each["ratio"] for each in found["curve"]], "-o", color=BLUE, lw=1.8, ms=5)
        axes.set_xticks(ahead)
        axes.set(
            title="Perplexity of later texts, over that of the model of their own time",
            xlabel=f"{found['unit']} between model and text",
        )
        figure.savefig(path, dpi=160, metadata={"Software": None})
        plt.close(figure)
