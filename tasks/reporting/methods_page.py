"""The comparison of methods as one self-contained page."""

from html import escape
from pathlib import Path
from typing import Any

from tasks.reporting.methods_table import COLUMNS, FAILED, best_of, cell, count_of_seeds, in_order, name_of, of_bound
from tasks.reporting.page import picture, whole_page
from tasks.reporting.style import STYLE
from tasks.reporting.summary import WORDS, percent

PICTURES = (
    ("methods_cost", "What keeping costs",
     "Each point is a method: the higher, the more of the older facts it still answers at the end; the further left, "
     "the less training it took. The line joins those that none beats in both. The dashed line is the bound: training "
     "anew on everything, after every slice."),
    ("methods_balance", "Keeping and learning",
     "The higher, the more is kept (stability); the further right, the better the news are learnt (plasticity). A "
     "method that freezes much of the network keeps well and learns badly; naive training does the opposite."),
    ("methods_kept", "Where no old row may be kept",
     "All that is true at the end, answered right, by the entries that keep nothing of the older data but what stands "
     "in the model or beside it; pale, for comparison, entries that keep every row."),
)  # fmt: skip
TITLES = {
    "ppl": "perplexity", "s": "seconds", "kB": "kB kept beside the model", "MiB": "MiB of memory",
    "back": "backward transfer", "forward": "forward transfer", "% acc": "% of joint's accuracy",
    "% cost": "% of joint's cost", "average": "average accuracy", "incremental": "average incremental",
}  # fmt: skip
KEEPS = {"all": "all", "capped": "a pool", "none": "none"}
OWN_STYLE = """main { max-width: 60rem } p, h1, h2, figure, .figures { max-width: 43rem }
figure { margin-left: 0 } .numbers th:nth-child(2), .numbers td:nth-child(2) { text-align: left; white-space: nowrap }
.numbers th { white-space: normal; vertical-align: bottom; min-width: 3.4rem }
.numbers td b { color: var(--good); font-weight: 600 } .reference td { color: var(--soft) }
.chosen td:nth-child(2) { font-weight: 600 } .failed td { color: var(--bad); text-align: left }
.numbers small { color: var(--soft) }
"""


def render_methods(comparison: dict[str, Any], plots: Path) -> str:
    """The HTML of the comparison, pictures and style inside, nothing fetched."""
    word = WORDS[comparison["kind"]]
    parts = [
        _opening(comparison, word),
        *(picture(plots / f"{name}.png", title, text) for name, title, text in PICTURES),
        _table(comparison, word),
        "<footer>Made by <code>perennial methods</code>; every figure stands in <code>reports/methods.json</code>."
        "</footer>",
    ]
    return whole_page("Perennial, methods compared", parts, STYLE + OWN_STYLE)


def _opening(comparison: dict[str, Any], word: str) -> str:
    seeds, entries = count_of_seeds(comparison), comparison["entries"]
    boxes = "".join(
        f'<div class="{kind}"><b>{percent(entries[name]["mean"]["accuracy"])}<small> %</small></b>'
        f"<span>{text}</span></div>"
        for name, text, kind in _figures(comparison, word)
    )
    return (
        "<header>\n<p class='name'>Perennial</p>\n<h1>Ways to keep what was learnt, compared</h1>\n"
        f"<p>{len(entries)} methods took one model through {len(comparison['slices'])} {word}s: the same base, the "
        f"same data, {comparison['steps']} steps of training for each, {seeds} {'seeds' if seeds != 1 else 'seed'}. "
        "What a method does besides, such as asking a teacher or generating rows, is counted as its cost. Two rows "
        f"are there to compare with: joint training, which begins anew with all data after every {word}, is the bound, "
        f"{of_bound(comparison)}: shares of its cost hold for that number; naive "
        f'training on the newest {word} alone is the floor.</p>\n</header>\n<div class="figures">{boxes}</div>'
    )


def _figures(comparison: dict[str, Any], word: str) -> list[tuple[str, str, str]]:
    """The entries at the top: the default or the best, the bound, and the newest slice alone."""
    references = (comparison["bound"], comparison["naive"])
    ranked = [name for name in in_order(comparison) if comparison["entries"][name]["mean"] and name not in references]
    chosen = comparison["default"] or (ranked[0] if ranked else None)
    figures = []
    for name, text, kind in (
        (chosen, f"{chosen}, {'the default' if chosen == comparison['default'] else 'the best here'}", "method"),
        (comparison["bound"], "joint training, the bound", ""),
        (comparison["naive"], f"the newest {word} alone", "naive"),
    ):
        if name and comparison["entries"][name]["mean"]:
            figures.append((name, f"of all facts true at the end: {escape(text)}", kind))
    return figures


def _table(comparison: dict[str, Any], word: str) -> str:
    titles = ["", "method", "family", "old data", *(TITLES.get(each.title, each.title) for each in COLUMNS)]
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join(_row(comparison, number, name) for number, name in enumerate(in_order(comparison), start=1))
    return (
        "<h2>The figures</h2>\n<p>Per cent of right answers, mean over the seeds, with the standard deviation. All, "
        f"reworded and retained: at the end; new, updated and stale: mean over the {word}s; seconds are those of one "
        f"{word}, TFLOP those of all after the first. The best of a column is green; the two references don't compete."
        f'</p>\n<div class="wide"><table class="numbers"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(comparison: dict[str, Any], number: int, name: str) -> str:
    each = comparison["entries"][name]
    start = f"<td>{number}</td><td>{escape(name_of(comparison, name))}</td>"
    failures = "".join(
        f'<tr class="failed"><td></td><td colspan="{len(COLUMNS) + 3}">{escape(f"{name}, seed {seed}, failed: {why}")}'
        "</td></tr>"
        for seed, why in each[FAILED].items()
    )
    if not each["mean"]:
        return f'<tr class="failed">{start}<td colspan="{len(COLUMNS) + 2}">{FAILED}</td></tr>{failures}'
    reference = name in (comparison["bound"], comparison["naive"])
    cells = f"<td>{escape(each['family'])}</td><td>{KEEPS[each['keep']]}</td>"
    for column in COLUMNS:
        text, _, deviation = cell(each, column, spread=True).partition(" ")
        best = not reference and text == best_of(comparison, column)
        cells += f"<td>{f'<b>{text}</b>' if best else text}{f' <small>{deviation}</small>' if deviation else ''}</td>"
    kind = "reference" if reference else "chosen" if name == comparison["default"] else ""
    return f'<tr class="{kind}">{start}{cells}</tr>{failures}'
