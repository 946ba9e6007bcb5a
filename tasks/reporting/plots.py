"""The pictures of the report, as PNG files whose bytes hang on the figures alone.

One width, so that letters have one size on the page; a thin transparent ground, so that the page's own shows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402 (the backend is chosen first)
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.colors import LinearSegmentedColormap  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from tasks.reporting.summary import WORDS  # noqa: E402

INK, SOFT, LINE, BLUE, ORANGE, GREEN, RED = "#22303c", "#6b7885", "#d5dbe1", "#2763a5", "#d2691e", "#3f8f68", "#b3392f"
Seconds = dict[str, dict[str, float]]  # by slice and step
WIDTH = 7.2  # inches
BLUES = LinearSegmentedColormap.from_list("blues", ["#f3f7fb", "#a9c8e6", "#2763a5"])
CATEGORIES = (("new", BLUE), ("updated", "#7aa9d6"), ("retained", GREEN), ("stale", RED))
COSTS = (
    ("stage 1", ("stage1",), BLUE),
    ("stage 2", ("stage2",), "#7aa9d6"),
    ("base model", ("pretrain",), "#1b3f66"),
    ("retriever", ("retriever",), GREEN),
    ("evaluation", ("evaluate",), "#c9a227"),
    ("data", ("dataset", "pairs"), "#8d6e97"),
    ("naive reference", ("naive",), "#c4ccd4"),
)
STYLE: Any = {
    "font.size": 10.5, "axes.edgecolor": SOFT, "axes.labelcolor": SOFT, "text.color": INK, "xtick.color": INK,
    "ytick.color": SOFT, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
    "axes.grid": True, "axes.grid.axis": "y", "grid.color": LINE, "grid.linewidth": 0.7, "axes.axisbelow": True,
    "xtick.major.size": 0, "ytick.major.size": 0, "axes.titlesize": 10.5, "axes.titlelocation": "left",
    "axes.titlecolor": SOFT, "axes.titlepad": 12, "legend.frameon": False, "legend.fontsize": 9.5,
}  # fmt: skip


def draw_plots(timeline: dict[str, Any], scatter: pd.DataFrame | None, folder: Path) -> None:
    """Draw every picture for which there are figures, each as NAME.png."""
    with plt.rc_context(STYLE):
        _save(_kept(timeline), folder / "kept.png")
        _save(_matrix(timeline), folder / "accuracy.png")
        _save(_categories(timeline), folder / "categories.png")
        _save(_perplexity(timeline), folder / "perplexity.png")
        if timeline["familiarity"]:
            _save(_familiarity(timeline), folder / "familiarity.png")
        if scatter is not None and len(scatter):
            _save(_scatter(scatter), folder / "retriever.png")


def draw_seconds(seconds: Seconds, timeline: dict[str, Any], path: Path) -> None:
    """Draw what each slice cost, step by step."""
    with plt.rc_context(STYLE):
        _save(_seconds(seconds, timeline), path)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=160, metadata={"Software": None})
    plt.close(figure)


def _canvas(height: float) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(WIDTH, height), layout="constrained")
    return figure, axes


def _kept(timeline: dict[str, Any]) -> Figure:
    figure, axes = _canvas(3.7)
    slices = timeline["slices"]
    lines = [("as configured", timeline["valid"], BLUE, "o-")]
    if timeline["naive"]:
        lines.append(("naive fine-tuning", timeline["naive"]["valid"], ORANGE, "o--"))
    for name, valid, colour, style in lines:
        known = [place for place, each in enumerate(slices) if each in valid and valid[each]["accuracy"] is not None]
        values = [100 * valid[slices[place]]["accuracy"] for place in known]
        axes.plot(known, values, style, color=colour, lw=2.2, ms=5.5)
        for place, value in list(zip(known, values, strict=True))[-1:]:
            axes.annotate(f"{name}\n{value:.1f} %", (place, value), (10, 0), textcoords="offset points", va="center",
                          color=colour, weight="bold", annotation_clip=False,
                          bbox={"fc": "white", "ec": "none", "pad": 1})  # fmt: skip
    axes.set(title="All facts true at the time, answered right (%)", ylim=(0, 104))
    axes.set_xlabel(f"model after {_word(timeline)}")
    axes.set_xlim(-0.25, 1.27 * len(slices) - 0.6)  # room for the words at the right
    _slices_below(axes, slices)
    return figure


def _matrix(timeline: dict[str, Any]) -> Figure:
    slices = timeline["slices"]
    height = 0.45 * min(len(slices), 16) + 1.3
    figure, both = plt.subplots(1, 2, figsize=(WIDTH, height), sharey=True, layout="constrained")
    for axes, key, title in (
        (both[0], "accuracy", "asked as in training (%)"),
        (both[1], "paraphrase_accuracy", "asked in other words (%)"),
    ):
        values = np.array([[np.nan if cell is None else 100 * cell for cell in row] for row in timeline[key]])
        axes.imshow(values, cmap=BLUES, vmin=0, vmax=100, aspect="auto")
        for i, j in np.argwhere(~np.isnan(values)) if len(slices) <= 16 else []:
            colour = "white" if values[i, j] > 66 else INK
            axes.text(j, i, f"{values[i, j]:.0f}", ha="center", va="center", color=colour)
        axes.set(title=title, xlabel=f"facts of {_word(timeline)}")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        _slices_below(axes, slices)
    both[0].set_yticks(range(len(slices)), slices)
    both[0].set_ylabel(f"model after {_word(timeline)}")
    return figure


def _categories(timeline: dict[str, Any]) -> Figure:
    figure, axes = _canvas(3.5)
    slices = timeline["slices"]
    for place, (kind, colour) in enumerate(CATEGORIES):
        shown = [(x, timeline["categories"][name][kind]) for x, name in enumerate(slices)]
        known = [(x + (place - 1.5) * 0.21, 100 * value) for x, value in shown if value is not None]
        bars = axes.bar([x for x, _ in known], [value for _, value in known], 0.19, color=colour, label=kind)
        if len(slices) <= 8:
            axes.bar_label(bars, fmt="%.0f", fontsize=7.5, color=SOFT, padding=1.5)
    axes.set(title="Answered right, by kind of fact; stale: the old answer (%)", ylim=(0, 108))
    _slices_below(axes, slices)
    _legend_below(axes, 4)
    return figure


def _perplexity(timeline: dict[str, Any]) -> Figure:
    figure, axes = _canvas(3.9)
    slices = timeline["slices"]
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(slices)))
    for j, (name, colour) in enumerate(zip(slices, shades, strict=True)):
        known = [i for i in range(len(slices)) if timeline["perplexity"][i][j] is not None]
        values = [timeline["perplexity"][i][j] for i in known]
        read = [i >= j for i in known]
        axes.plot(known, values, "-", color=colour, lw=1.8, label=f"text of {name}")
        axes.scatter(known, values, s=30, zorder=3, edgecolors=[colour], linewidths=1.5,
                     facecolors=[colour if each else "white" for each in read])  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda value, _: "")
    axes.set(title="Perplexity, log scale; hollow: before the text was read", xlabel=f"model after {_word(timeline)}")
    _slices_below(axes, slices)
    _legend_below(axes, min(5, len(slices)), drop=-0.24)
    return figure


def _familiarity(timeline: dict[str, Any]) -> Figure:
    figure, axes = _canvas(3.4)
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(timeline["familiarity"])))
    for (name, each), colour in zip(timeline["familiarity"].items(), shades, strict=True):
        coverage, risk = zip(*each["risk"], strict=True)
        axes.plot(100 * np.array(coverage), 100 * np.array(risk), "-", color=colour, lw=1.8, label=f"before {name}")
    axes.set(title="Wrong answers among those given, %", xlabel="questions answered, %, the best known first")
    axes.set_ylim(bottom=0)
    _legend_below(axes, min(5, len(timeline["familiarity"])), drop=-0.24)
    return figure


def _scatter(scatter: pd.DataFrame) -> Figure:
    figure, axes = _canvas(3.7)
    true, predicted = scatter["true"].to_numpy(), scatter["predicted"].to_numpy()
    golden = (np.arange(len(scatter)) * 0.618034) % 1 - 0.5  # spreads points that share a value; always the same
    axes.scatter(true + 0.045 * golden, predicted, s=7, alpha=0.22, color=BLUE, linewidths=0)
    steps = np.unique(true)
    if len(steps) <= 12:
        means = [predicted[true == step].mean() for step in steps]
        axes.plot(steps, means, "D-", color=ORANGE, ms=6, lw=1.4, label="mean")
    axes.plot([0, 1], [0, 1], color=SOFT, lw=1, ls=":", label="perfect")
    axes.set(title="Predicted similarity over true similarity", xlabel="true similarity of the keys")
    axes.legend(loc="lower right")
    return figure


def _seconds(seconds: Seconds, timeline: dict[str, Any]) -> Figure:
    figure, axes = _canvas(3.6)
    names = [name for name in ("base", *timeline["slices"]) if name in seconds]
    below = np.zeros(len(names))
    for label, steps, colour in COSTS:
        values = np.array([sum(seconds[name].get(step, 0.0) for step in steps) for name in names])
        if values.any():
            axes.bar(range(len(names)), values, 0.58, bottom=below, label=label, color=colour)
            below += values
    axes.set_title(f"Seconds per {_word(timeline)}")
    _slices_below(axes, names)
    _legend_below(axes, 4)
    return figure


def _slices_below(axes: Axes, names: Sequence[str]) -> None:
    crowded = sum(len(name) for name in names) > 45
    axes.set_xticks(range(len(names)), names, rotation=45 if crowded else 0, ha="right" if crowded else "center")


def _legend_below(axes: Axes, columns: int, drop: float = -0.12) -> None:
    axes.legend(ncols=columns, loc="upper center", bbox_to_anchor=(0.5, drop), handlelength=1.1, columnspacing=1.6)


def _word(timeline: dict[str, Any]) -> str:
    """What a slice of this timeline is called."""
    return WORDS[timeline["kind"]]
