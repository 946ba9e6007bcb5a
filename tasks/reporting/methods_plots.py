"""The pictures of the comparison: what keeping costs, and what it takes from learning.

Each entry is a point with its number in the table; the key below names it. Labels are put where they cover nothing.
Per cents stand on a logit scale: between 90 and 99 there is as much to tell apart as between 50 and 90.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

from tasks.reporting.methods_table import in_order
from tasks.reporting.plots import BLUE, GREEN, INK, RED, SOFT, STYLE, WIDTH, plt
from tasks.reporting.summary import WORDS
from tasks.scoring.comparison import FAMILIES

COLOURS = dict(
    zip(
        FAMILIES,
        (SOFT, RED, "#c9a227", BLUE, "#17becf", GREEN, "#8d6e97", "#d2691e", "#8c564b", "#d6619a", INK, "#e4007c"),
        strict=True,
    )
)
MARKERS = {"all": ("o", "all old data"), "capped": ("D", "a capped pool of it"), "none": ("^", "no old data")}
PLOT, ROW, LEGEND_ROW = 4.6, 0.185, 0.22  # inches
KEY_COLUMNS, LEGEND_COLUMNS = 3, 4
NUMBER, NAME = 7.5, 8.0  # font sizes
NEAREST, FARTHEST = 7.0, 60.0  # points that a label may lie from its point

PERCENTS = (1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.5)
LOWEST, HIGHEST = 0.5, 99.8  # per cent that the logit scale shows

Point = tuple[float, float]
Bar = tuple[tuple[float, float], tuple[float, float]]  # from x to x, from y to y
Box = tuple[float, float, float, float]


def draw_methods(comparison: dict[str, Any], folder: Path) -> None:
    """Draw methods_cost.png and methods_balance.png, if any entry is finished."""
    numbers = {
        name: place for place, name in enumerate(in_order(comparison), start=1) if comparison["entries"][name]["mean"]
    }
    with plt.rc_context(STYLE):
        for title, x, y, path in (
            ("Older facts answered right at the end (%), over training cost", "tflops", "retained", "methods_cost.png"),
            ("Older facts kept (%), over new facts learnt (%)", "new", "retained", "methods_balance.png"),
        ):
            shown = {name: at for name in numbers if (at := _place(comparison["entries"][name], x, y))}
            if shown:
                figure = _draw(comparison, numbers, shown, title, x)
                figure.savefig(folder / path, dpi=160, metadata={"Software": None})
                plt.close(figure)


def _place(each: dict[str, Any], x: str, y: str) -> Point | None:
    across, up = each["mean"][x], each["mean"][y]
    if across is None or up is None or (x == "tflops" and across <= 0):
        return None
    return (across if x == "tflops" else _shown(across), _shown(up))


def _shown(share: float) -> float:
    return min(max(100 * share, LOWEST), HIGHEST)


def _draw(comparison: dict[str, Any], numbers: dict[str, int], shown: dict[str, Point], title: str, x: str) -> Any:
    families = [family for family in COLOURS if any(comparison["entries"][name]["family"] == family for name in shown)]
    keeps = [keep for keep in MARKERS if any(comparison["entries"][name]["keep"] == keep for name in shown)]
    key_rows = -(-len(shown) // KEY_COLUMNS)
    legend_rows = -(-(len(families) + len(keeps)) // LEGEND_COLUMNS)
    below = 0.8 + legend_rows * LEGEND_ROW + key_rows * ROW
    height = PLOT + below
    figure = plt.figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0.075, below / height, 0.9, (PLOT - 0.45) / height))
    axes.set_title(title)
    cost = x == "tflops"
    costs = f"TFLOP of training, all {WORDS[comparison['kind']]}s after the first"
    axes.set_xlabel(costs if cost else "new facts answered right (%)")
    bars = [bar for name, at in shown.items() for bar in _point(axes, comparison["entries"][name], at, x)]
    _scale(axes, list(shown.values()), cost)
    if comparison["bound"] in shown:
        across, up = shown[comparison["bound"]]
        axes.axhline(up, color=SOFT, ls="--", lw=1.1, zorder=1)
        bars.append((axes.get_xlim(), (up, up)))
        if not cost:
            axes.axvline(across, color=SOFT, ls="--", lw=1.1, zorder=1)
            bars.append(((across, across), axes.get_ylim()))
    front = [name for name in comparison["front"] if name in shown] if cost else []
    if len(front) > 1:
        axes.step(*zip(*(shown[name] for name in front), strict=True), where="post", color=INK, lw=1.2, zorder=2)
    named = [
        name for name in (comparison["bound"], comparison["default"], comparison["naive"], *front) if name in shown
    ]
    texts = {name: f"{numbers[name]} {name}" if name in named else str(numbers[name]) for name in (*named, *shown)}
    colours = {name: COLOURS[each["family"]] for name, each in comparison["entries"].items()}
    _label(figure, axes, shown, texts, colours, bars)
    _legend(figure, axes, families, keeps, (0.16 + key_rows * ROW + legend_rows * LEGEND_ROW) / height)
    _key(figure, numbers, shown, colours, comparison["default"], key_rows, height)
    return figure


def _point(axes: Any, each: dict[str, Any], at: Point, x: str) -> list[Bar]:
    """Draw a point and its deviations over the seeds; return the lines of these."""
    marker, _ = MARKERS[each["keep"]]
    colour = COLOURS[each["family"]]
    bars: list[Bar] = []
    if up := each["spread"]["retained"]:
        mean = each["mean"]["retained"]
        bars.append(((at[0], at[0]), (_shown(mean - up), _shown(mean + up))))
    if x != "tflops" and (across := each["spread"][x]):
        mean = each["mean"][x]
        bars.append(((_shown(mean - across), _shown(mean + across)), (at[1], at[1])))
    for bar in bars:
        axes.plot(*bar, color=colour, lw=0.8, alpha=0.3, zorder=2)
    axes.scatter(*at, marker=marker, s=30, color=colour, edgecolors="white", linewidths=0.6, zorder=4)
    return bars


def _scale(axes: Any, points: list[Point], cost: bool) -> None:
    across, up = zip(*points, strict=True)
    _logit(axes.yaxis, axes.set_yscale, axes.set_ylim, up)
    if not cost:
        _logit(axes.xaxis, axes.set_xscale, axes.set_xlim, across)
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(min(across) / 1.35, max(across) * 1.6)


def _logit(axis: Any, scale: Any, limit: Any, values: Sequence[float]) -> None:
    scale("function", functions=(_to_logit, _from_logit))
    axis.set_major_locator(FixedLocator(PERCENTS))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    least, most = _to_logit(np.array([min(values), max(values)]))
    margin = 0.1 * max(most - least, 1.0)
    limit(*_from_logit(np.array([least - margin, most + 1.3 * margin])))


def _to_logit(percent: Any) -> Any:
    share = np.clip(np.asarray(percent, dtype=float) / 100, 1e-4, 1 - 1e-4)
    return np.log(share / (1 - share))


def _from_logit(value: Any) -> Any:
    return 100 / (1 + np.exp(-np.asarray(value, dtype=float)))


def _label(
    figure: Any, axes: Any, shown: dict[str, Point], texts: dict[str, str], colours: dict[str, str], bars: list[Bar]
) -> None:
    """Write each text as near to its point as it covers no point and no other text; a thin line leads to it."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    scale = figure.dpi / 72  # pixels per point
    frame = axes.get_window_extent(renderer)
    pixels = {name: axes.transData.transform(at) for name, at in shown.items()}
    taken: list[Box] = [(x - 4 * scale, y - 4 * scale, x + 4 * scale, y + 4 * scale) for x, y in pixels.values()]
    for bar in bars:
        (left, low), (right, high) = axes.transData.transform(np.transpose(bar))
        taken.append((left - scale, low - scale, right + scale, high + scale))
    for name, text in texts.items():
        size, weight = (NAME, "bold") if " " in text else (NUMBER, "normal")
        drawn = axes.text(0, 0, text, fontsize=size, weight=weight)
        extent = drawn.get_window_extent(renderer)
        drawn.remove()
        x, y = pixels[name]
        place = next(
            (
                box
                for dx, dy in _offsets(extent.width, extent.height, scale)
                if _inside(box := (x + dx, y + dy, x + dx + extent.width, y + dy + extent.height), frame)
                and not any(_overlap(box, other) for other in taken)
            ),
            (x, y, x + extent.width, y + extent.height),
        )
        taken.append((place[0] - scale, place[1], place[2] + scale, place[3]))
        middle = ((place[0] + place[2]) / 2, (place[1] + place[3]) / 2)
        edge = (float(np.clip(x, place[0], place[2])), float(np.clip(y, place[1], place[3])))
        to_data = axes.transData.inverted().transform
        if np.hypot(edge[0] - x, edge[1] - y) > 8 * scale:
            line = to_data([(x, y), edge])
            axes.plot(line[:, 0], line[:, 1], color=colours[name], lw=0.5, alpha=0.7, zorder=3)
        axes.text(*to_data(middle), text, fontsize=size, weight=weight, color=colours[name], ha="center", va="center",
                  zorder=5, path_effects=[withStroke(linewidth=2, foreground="white")])  # fmt: skip


def _offsets(width: float, height: float, scale: float) -> Iterator[Point]:
    """Lower left corners of a text around its point, from near to far."""
    for distance in np.arange(NEAREST, FARTHEST, 3.0) * scale:
        for angle in np.deg2rad([0, 180, 90, 270, 35, 145, 325, 215, 60, 120, 300, 240, 15, 165, 345, 195]):
            across, up = np.cos(angle), np.sin(angle)
            x, y = across * distance, up * distance
            yield (x + width / 2 * (np.sign(round(across, 6)) - 1), y + height / 2 * (up - 1))


def _inside(box: Box, frame: Any) -> bool:
    return box[0] > frame.x0 and box[1] > frame.y0 and box[2] < frame.x1 and box[3] < frame.y1


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _legend(figure: Any, axes: Any, families: Sequence[str], keeps: Sequence[str], top: float) -> None:
    handles = [axes.scatter([], [], marker="s", s=34, color=COLOURS[family], label=family) for family in families]
    for keep in keeps:
        marker, text = MARKERS[keep]
        handles.append(axes.scatter([], [], marker=marker, s=30, color=SOFT, label=text))
    figure.legend(handles=handles, ncols=LEGEND_COLUMNS, loc="upper left", bbox_to_anchor=(0.06, top), fontsize=8,
                  handletextpad=0.2, columnspacing=1.4, borderaxespad=0, borderpad=0)  # fmt: skip


def _key(
    figure: Any,
    numbers: dict[str, int],
    shown: dict[str, Point],
    colours: dict[str, str],
    default: str | None,
    rows: int,
    height: float,
) -> None:
    names = sorted(shown, key=lambda name: numbers[name])
    for place, name in enumerate(names):
        column, row = divmod(place, rows)
        x, y = 0.075 + column * 0.31, (0.1 + (rows - row - 0.5) * ROW) / height
        weight = "bold" if name == default else "normal"
        figure.text(x + 0.022, y, str(numbers[name]), fontsize=8, color=colours[name], ha="right", va="center",
                    weight="bold")  # fmt: skip
        figure.text(x + 0.032, y, _short(name), fontsize=8, color=INK, va="center", weight=weight)


def _short(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:31]}…"
