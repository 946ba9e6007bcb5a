"""A selection of models, on the terminal and as one self-contained page."""

from html import escape
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tasks.reporting.page import whole_page
from tasks.reporting.style import STYLE
from tasks.reporting.summary import number, percent
from tasks.scoring.choice import harm_of
from tasks.scoring.sanity import FAULTS

Trial = dict[str, Any]
OWN_STYLE = """main { max-width: 60rem } p, h1, h2 { max-width: 43rem }
.numbers th { white-space: normal; vertical-align: bottom } .chosen td:first-child { font-weight: 600 }
"""


def _million(count: float) -> str:
    return f"{count / 1e6:,.0f} M"


def _share(trial: Trial) -> str:
    return percent(trial["right"] / trial["questions"] if trial["questions"] else None)


def _broken(trial: Trial) -> str:
    return ", ".join(f"{trial['faults'][name]} {name}" for name in FAULTS if trial["faults"][name]) or "none"


def _of_kind(trial: Trial, kind: str) -> str:
    right, asked = trial["right_by_kind"][kind]
    return percent(right / asked if asked else None)


def print_selection(console: Console, found: dict[str, Any]) -> None:
    """Print the table, and which one is recommended."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for title in ("model", "parameters", "right", "harm", "train", "tok/s", "MB", "answer", "faults"):
        table.add_column(title, justify="left" if title in ("model", "faults") else "right", no_wrap=title != "faults")
    for trial in found["trials"]:
        table.add_row(
            Path(trial["model"]).name,
            _million(trial["parameters"]),
            f"[bold]{_share(trial)}[/bold]",
            f"{harm_of(trial):.2f}",
            f"{trial['train_seconds']:.0f} s",
            number(trial["train_tokens_per_second"]),
            f"{trial['train_memory_mb']:,.0f}",
            f"{trial['answer_seconds']:.2f} s",
            _broken(trial),
        )
    console.print(table)
    console.print(
        f"right: % of {found['trials'][0]['questions']} questions about {found['trials'][0]['facts']} facts, after "
        f"{found['steps']} steps of LoRA; harm: ordinary text's\nperplexity after, by before; MB: peak in training; "
        "answer: seconds for one, many together.",
        style="dim", highlight=False, soft_wrap=True,
    )  # fmt: skip
    console.print(found["why"], highlight=False, soft_wrap=True)


ROWS = (
    ("parameters", lambda each: _million(each["parameters"])),
    ("architecture", lambda each: each["architecture"]),
    ("licence", lambda each: each["licence"]),
    ("weights on disk, MB", lambda each: f"{each['weights_bytes'] / 2**20:,.0f}"),
    ("seconds to load", lambda each: f"{each['load_seconds']:.1f}"),
    ("tokens per 100 characters", lambda each: _by_language(each["tokens_per_100_characters"])),
    ("ordinary text's perplexity, before", lambda each: _by_language(each["perplexity"])),
    ("and after", lambda each: _by_language(each["perplexity_after"])),
    ("seconds of training", lambda each: f"{each['train_seconds']:.1f}"),
    ("tokens a second, training", lambda each: number(each["train_tokens_per_second"])),
    ("peak memory in training, MB", lambda each: f"{each['train_memory_mb']:,.0f}"),
    ("right answers, %", _share),
    ("worded as in training", lambda each: _of_kind(each, "seen")),
    ("reworded", lambda each: _of_kind(each, "paraphrase")),
    ("as people type", lambda each: _of_kind(each, "everyday")),
    ("seconds an answer, many together", lambda each: f"{each['answer_seconds']:.2f}"),
    ("tokens a second, answering", lambda each: number(each["answer_tokens_per_second"])),
    ("peak memory in answering, MB", lambda each: f"{each['answer_memory_mb']:,.0f}"),
    *((f"answers: {name}", lambda each, name=name: f"{each['faults'][name]}") for name in FAULTS),
)


def _by_language(values: dict[str, float]) -> str:
    return ", ".join(f"{language} {number(values[language])}" for language in sorted(values))


def render_selection(found: dict[str, Any]) -> str:
    """The HTML of a selection: the recommendation, the figures, answers of each."""
    trials = found["trials"]
    head = "".join(f"<th>{escape(Path(each['model']).name)}</th>" for each in trials)
    body = "".join(
        f"<tr><td>{escape(title)}</td>{''.join(f'<td>{escape(value(each))}</td>' for each in trials)}</tr>"
        for title, value in ROWS
    )
    failed = "".join(f"<li>{escape(f'{model}: {reason}')}</li>" for model, reason in found["failed"].items())
    parts = [
        "<header>\n<p class='name'>Perennial</p>\n<h1>Which model to start from</h1>\n"
        f"<p class='result'>{escape(found['why'])}</p>\n<p>Each was trained for {found['steps']} steps, by LoRA of "
        f"rank 16 on all linear layers, on {trials[0]['facts']} facts of {escape(found['slice'])}, and asked the "
        f"same {trials[0]['questions']} questions about them. It shows how a model takes to the data and what it costs "
        "here, not what it would know in the end.</p>\n</header>",
        f'<h2>The figures</h2>\n<div class="wide"><table class="numbers"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>",
        f"<h2>Not tried</h2>\n<ul>{failed}</ul>" if failed else "",
        *(_answers(each) for each in trials),
        "<footer>Made by <code>perennial select</code>; every figure stands in <code>reports/selection.json</code>."
        "</footer>",
    ]
    return whole_page("Perennial, models tried", parts, STYLE + OWN_STYLE)


def _answers(trial: Trial) -> str:
    rows = "".join(
        f'<tr class="{"right" if each["right"] else "wrong"}"><td>{escape(each["prompt"])}</td>'
        f"<td>{escape(each['answer'] or '(nothing)')}</td><td>{escape(each['expected'])}</td></tr>"
        for each in trial["answers"]
    )
    return (
        f"<h2>{escape(Path(trial['model']).name)}</h2>\n"
        '<div class="wide"><table class="words"><thead><tr><th>question</th><th>answer</th><th>expected</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )
