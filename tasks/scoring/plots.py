"""The pictures of the report, as PNG files whose bytes hang on the figures alone."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402 (the backend is chosen first)
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

INK, GREY, BLUE, ORANGE, GREEN, RED = "#1f2933", "#9aa5b1", "#2f6fb3", "#d97b29", "#3d8b5f", "#b84a3c"
STEPS = ("dataset", "pairs", "retriever", "pretrain", "stage1", "stage2", "evaluate", "naive")
plt.rcParams.update(
    {
        "font.size": 10, "axes.edgecolor": GREY, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK,
        "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110,
        "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    }
)  # fmt: skip


def draw_plots(timeline: dict[str, Any], scatter: pd.DataFrame | None, folder: Path) -> None:
    """Draw every picture for which there are figures; names end in .png."""
    _save(_kept(timeline), folder / "kept.png")
    _save(_matrix(timeline), folder / "accuracy.png")
    _save(_categories(timeline), folder / "categories.png")
    _save(_perplexity(timeline), folder / "perplexity.png")
    if scatter is not None and len(scatter):
        _save(_scatter(scatter), folder / "retriever.png")
    if timeline["seconds"]:
        _save(_seconds(timeline), folder / "seconds.png")


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def _kept(timeline: dict[str, Any]) -> Figure:
    figure, axes = plt.subplots(figsize=(7, 3.6))
    slices = timeline["slices"]
    lines = [("with the method", timeline["valid"], BLUE, "o-")]
    if timeline["naive"]:
        lines.append(("naive fine-tuning", timeline["naive"]["valid"], ORANGE, "s--"))
    for name, valid, colour, style in lines:
        known = [place for place, each in enumerate(slices) if each in valid and valid[each]["accuracy"] is not None]
        values = [100 * valid[slices[place]]["accuracy"] for place in known]
        axes.plot(known, values, style, color=colour, label=name, lw=2)
        for place, value in zip(known, values, strict=True):
            axes.annotate(f"{value:.0f}", (place, value), (0, 7), textcoords="offset points", ha="center", color=colour)
    axes.set(title="Facts that are true then, answered right (%)", ylim=(0, 112), xlabel="model after slice")
    axes.set_xticks(range(len(slices)), slices)
    axes.legend(frameon=False, loc="center right")
    return figure


def _matrix(timeline: dict[str, Any]) -> Figure:
    slices = timeline["slices"]
    figure, both = plt.subplots(1, 2, figsize=(10.5, 0.62 * len(slices) + 1.8), sharey=True)
    for axes, key, title in (
        (both[0], "accuracy", "Questions as trained (%)"),
        (both[1], "paraphrase_accuracy", "Reworded questions (%)"),
    ):
        values = np.array([[np.nan if cell is None else 100 * cell for cell in row] for row in timeline[key]])
        axes.imshow(values, cmap="Blues", vmin=0, vmax=130, aspect="auto")
        for i, j in np.argwhere(~np.isnan(values)):
            axes.text(j, i, f"{values[i, j]:.0f}", ha="center", va="center", color=INK)
        axes.set(title=title, xlabel="facts of slice")
        axes.set_xticks(range(len(slices)), slices)
        axes.set_yticks(range(len(slices)), slices)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    both[0].set_ylabel("model after slice")
    return figure


def _categories(timeline: dict[str, Any]) -> Figure:
    figure, axes = plt.subplots(figsize=(8, 3.4))
    slices = timeline["slices"]
    for place, (kind, colour) in enumerate((("new", BLUE), ("updated", GREEN), ("retained", GREY), ("stale", RED))):
        heights = [100 * (timeline["categories"][name][kind] or 0) for name in slices]
        known = [timeline["categories"][name][kind] is not None for name in slices]
        at = [x + (place - 1.5) * 0.2 for x in range(len(slices))]
        axes.bar(np.array(at)[known], np.array(heights)[known], 0.18, color=colour, label=kind)
    _by_slice(axes, slices, "Right answers by kind of fact; stale: old answers to updated facts (%)")
    axes.set_ylim(0, 105)
    axes.legend(frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    return figure


def _perplexity(timeline: dict[str, Any]) -> Figure:
    figure, axes = plt.subplots(figsize=(7, 3.6))
    slices = timeline["slices"]
    for j, name in enumerate(slices):
        known = [i for i in range(len(slices)) if timeline["perplexity"][i][j] is not None]
        values = [timeline["perplexity"][i][j] for i in known]
        axes.plot(known, values, "o-", label=f"text of {name}", color=plt.get_cmap("viridis")(j / max(1, len(slices))))
    axes.set_yscale("log")
    axes.set(
        title="Perplexity (log scale): each text a slice before it is learnt, and after", xlabel="model after slice"
    )
    axes.set_xticks(range(len(slices)), slices)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _scatter(scatter: pd.DataFrame) -> Figure:
    figure, axes = plt.subplots(figsize=(5, 4.4))
    axes.scatter(scatter["true"], scatter["predicted"], s=9, alpha=0.25, color=BLUE, linewidths=0)
    axes.plot([0, 1], [0, 1], color=GREY, lw=1)
    axes.set(title="Retriever on held-out pairs", xlabel="true similarity of the keys", ylabel="predicted cosine")
    return figure


def _seconds(timeline: dict[str, Any]) -> Figure:
    figure, axes = plt.subplots(figsize=(8, 3.4))
    names = [name for name in ("base", *timeline["slices"]) if name in timeline["seconds"]]
    below = np.zeros(len(names))
    for step, colour in zip(STEPS, plt.get_cmap("tab10").colors, strict=False):  # type: ignore[attr-defined]
        values = np.array([timeline["seconds"][name].get(step, 0.0) for name in names])
        if values.any():
            axes.bar(range(len(names)), values, 0.6, bottom=below, label=step, color=colour)
            below += values
    _by_slice(axes, names, "Seconds per slice and step")
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    return figure


def _by_slice(axes: Axes, names: list[str], title: str) -> None:
    axes.set_title(title)
    axes.set_xticks(range(len(names)), names)
