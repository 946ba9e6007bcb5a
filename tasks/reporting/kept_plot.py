"""The picture of the comparison where no old row may be kept: how much of all that is true each entry still answers."""

from pathlib import Path
from typing import Any

from tasks.reporting.methods_plots import COLOURS
from tasks.reporting.plots import INK, STYLE, WIDTH, plt
from tasks.scoring.comparison import FAMILIES

KEPT = "methods_kept.png"
PALE = "#d5dae0"
BAR, MARGIN = 0.21, 1.0  # inches


def draw_kept(comparison: dict[str, Any], folder: Path) -> None:
    """Draw methods_kept.png, if two entries that keep no row are finished.

    Above them stand joint, and the default if it keeps rows.
    """
    finished = {name: each for name, each in comparison["entries"].items() if each["mean"]}
    none = [name for name, each in finished.items() if each["keep"] == "none"]
    if len(none) < 2:
        return
    beside = dict.fromkeys((comparison["bound"], comparison["default"]))
    above = [name for name in beside if name in finished and name not in none]
    names = [*sorted(none, key=lambda name: finished[name]["mean"]["accuracy"]), *reversed(above)]
    shares = [100 * finished[name]["mean"]["accuracy"] for name in names]
    spreads = [100 * (finished[name]["spread"]["accuracy"] or 0.0) for name in names]
    colours = [PALE if name in above else COLOURS[finished[name]["family"]] for name in names]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, MARGIN + BAR * len(names)), layout="constrained")
        axes.barh(names, shares, color=colours, xerr=spreads, error_kw={"lw": 0.8, "ecolor": INK}, height=0.72)
        for place, share in enumerate(shares):
            axes.text(share + spreads[place] + 0.8, place, f"{share:.1f}", va="center", fontsize=8, color=INK)
        axes.set_xlim(0, 108)
        axes.tick_params(labelsize=9)
        axes.margins(y=0.01)
        axes.grid(axis="y", visible=False)
        axes.set_title("Right at the end (%), of all that is true. Pale: every old row is kept", loc="left")
        families = [family for family in FAMILIES if any(finished[name]["family"] == family for name in none)]
        handles = [axes.barh([0], [0], color=COLOURS[family], label=family) for family in families]
        axes.legend(handles=handles, loc="lower right", fontsize=8)
        figure.savefig(folder / KEPT, dpi=160, metadata={"Software": None})
        plt.close(figure)
