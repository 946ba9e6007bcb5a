"""Ways of training a model beside the plain one, on the terminal."""

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


def print_speed(console: Console, found: dict[str, Any]) -> None:
    """Print the table: what reports/speed.json holds."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for title in ("way", "s a step", "x plain", "MB", "x plain", "loss", "in params.yaml"):
        is_text = title in ("way", "in params.yaml")
        table.add_column(title, justify="left" if is_text else "right", no_wrap=not is_text)
    plain = next((way for way in found["ways"] if "seconds" in way), None)
    for way in found["ways"]:
        if "seconds" not in way:
            table.add_row(way["name"], "", "", "", "", "", way["why_not"])
            continue
        assert plain
        table.add_row(
            way["name"],
            f"{way['seconds']:.3f}",
            f"{way['seconds'] / plain['seconds']:.2f}",
            f"{way['peak_memory_mb']:,.0f}",
            f"{way['peak_memory_mb'] / plain['peak_memory_mb']:.2f}",
            f"{way['loss']:.3f}",
            way["setting"],
        )
    console.print(table)
    console.print(
        f"s a step: median over {found['rounds']} x {found['steps']} steps of {found['batch_tokens']} tokens on "
        f"{found['threads']} threads, the first of each\nleft out; the ways take turns. MB: peak of the process. "
        "loss: mean of the later half of the steps.",
        highlight=False,
    )
