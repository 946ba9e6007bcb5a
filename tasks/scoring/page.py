"""The report as one self-contained page, for a reader who has never heard of the project."""

import base64
from html import escape
from pathlib import Path
from typing import Any

from tasks.scoring.summary import number, percent

PICTURES = (
    ("kept", "Kept or forgotten",
     "After each slice the model is asked about everything that is true then, old and new. The line that stays up was "
     "trained with the chosen method, the one that falls on the new slice alone, with as many steps."),
    ("accuracy", "What each model knows of each slice",
     "A row is the model after one slice, a column the facts that one slice brought and that still hold. Read a column "
     "downwards: numbers that stay high were kept. On the right the questions are worded as they never were in training."),
    ("categories", "New, updated, retained",
     "New facts had to be learnt, updated ones replace an older answer, retained ones had to survive. Stale counts how "
     "often the old answer to an updated fact is still given: less is better."),
    ("perplexity", "How surprising the text is",
     "Perplexity is about the number of words that the model wavers between; lower is better. The first point of a line "
     "is the model of the slice before, which has not read that text: what a year brings is news to last year's model."),
    ("retriever", "The memory's retriever",
     "What can't be trained in, such as today's plans, is looked up. A point is a pair of memory and message that the "
     "retriever never saw: the further right it belongs, the higher it should be."),
    ("seconds", "What it cost",
     "Seconds per slice on the machine that ran it. The bars of later slices are no higher than those of the first: the "
     "cost of a slice does not grow with the timeline."),
)  # fmt: skip

STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --soft: #616e7c; --line: #e4e7eb; --paper: #fff; --card: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --soft: #9aa5b1; --line: #3e4c59; --paper: #1b2229; } }
* { box-sizing: border-box } body { margin: 0; background: var(--paper); color: var(--ink);
  font: 17px/1.6 Georgia, 'Times New Roman', serif }
main { max-width: 50rem; margin: 0 auto; padding: 3rem 1.2rem 5rem }
h1 { font-size: 2.1rem; line-height: 1.2; margin: 0 0 .3em } h2 { font-size: 1.3rem; margin: 3rem 0 .4rem }
.lead { font-size: 1.2rem } p, dd { max-width: 42rem } .soft { color: var(--soft) }
figure { margin: 1rem 0; padding: .8rem; background: var(--card); border: 1px solid var(--line); border-radius: 6px }
figure img { width: 100%; height: auto; display: block }
.wide { overflow-x: auto } table { border-collapse: collapse; font: 15px/1.45 system-ui, sans-serif; width: 100% }
th, td { text-align: left; padding: .45rem .8rem .45rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.big { display: flex; flex-wrap: wrap; gap: 2.2rem; margin: 1.6rem 0; font-family: system-ui, sans-serif }
.big b { display: block; font-size: 2.2rem; line-height: 1.1 } .big span { color: var(--soft); font-size: .9rem }
dt { font-weight: bold; margin-top: .7rem } dd { margin: 0 }
"""


def render_page(timeline: dict[str, Any], samples: list[dict[str, str]], plots: Path) -> str:
    """The HTML of the report, pictures and style inside, nothing fetched."""
    last = timeline["slices"][-1]
    parts = [
        "<h1>A language model, kept current</h1>",
        f'<p class="lead">{_sentence(timeline)}</p>',
        _figures(timeline, last),
        *(_picture(plots / f"{name}.png", title, text) for name, title, text in PICTURES),
        _slices_table(timeline),
        _samples_table(samples, last),
        _stages(timeline),
        _glossary(),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Perennial: {escape(timeline['slices'][0])} to {escape(last)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body><main>\n{body}\n</main></body>\n</html>\n"
    )


def _sentence(timeline: dict[str, Any]) -> str:
    first, last = timeline["slices"][0], timeline["slices"][-1]
    text = (
        f"One model was taken through {len(timeline['slices'])} slices of time, from {escape(first)} to {escape(last)}. "
        f"At the end it answers {percent(timeline['valid'][last]['accuracy'])} % of all questions about what is true then"
    )
    if timeline["naive"] and last in timeline["naive"]["valid"]:
        text += (
            f"; the same model, trained as long on each slice's news alone, answers "
            f"{percent(timeline['naive']['valid'][last]['accuracy'])} %"
        )
    return f"{text}."


def _figures(timeline: dict[str, Any], last: str) -> str:
    valid = timeline["valid"][last]
    shown = [
        (f"{percent(valid['accuracy'])} %", "of all true facts, asked as trained"),
        (f"{percent(valid['paraphrase_accuracy'])} %", "reworded"),
        (f"{percent(timeline['forgetting'])} %", "forgotten of old slices"),
    ]
    return (
        '<div class="big">' + "".join(f"<div><b>{big}</b><span>{small}</span></div>" for big, small in shown) + "</div>"
    )


def _picture(path: Path, title: str, text: str) -> str:
    if not path.exists():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        f"<h2>{title}</h2>\n<p>{text}</p>\n"
        f'<figure><img alt="{escape(title)}" src="data:image/png;base64,{data}"></figure>'
    )


def _slices_table(timeline: dict[str, Any]) -> str:
    kinds = ("new", "updated", "retained", "stale")
    rows = []
    for place, name in enumerate(timeline["slices"]):
        naive = timeline["naive"]["valid"].get(name, {}).get("accuracy") if timeline["naive"] else None
        cells = [percent(timeline["categories"][name][kind]) for kind in kinds]
        cells += [percent(timeline["valid"][name]["accuracy"]), percent(timeline["valid"][name]["paraphrase_accuracy"])]
        cells += [percent(naive), number(timeline["perplexity"][place][place])]
        rows.append(_row(name, cells))
    head = "".join(f'<th class="n">{name}</th>' for name in (*kinds, "all", "reworded", "naive", "perplexity"))
    return f'<h2>The figures</h2>\n<div class="wide"><table><tr><th>slice</th>{head}</tr>{"".join(rows)}</table></div>'


def _row(name: str, cells: list[str]) -> str:
    return f"<tr><td>{escape(name)}</td>" + "".join(f'<td class="n">{cell}</td>' for cell in cells) + "</tr>"


def _samples_table(samples: list[dict[str, str]], last: str) -> str:
    if not samples:
        return ""
    rows = "".join(
        f"<tr><td>{escape(each['prompt'])}</td><td>{escape(each['answer'] or '(nothing)')}</td>"
        f"<td>{'right' if each['answer'] == each['expected'] else 'expected: ' + escape(each['expected'])}</td></tr>"
        for each in samples
    )
    return (
        f"<h2>In its own words</h2>\n<p>Questions worded as they never were in training, to the model after {escape(last)}.</p>"
        f'<div class="wide"><table><tr><th>question</th><th>answer</th><th></th></tr>{rows}</table></div>'
    )


def _stages(timeline: dict[str, Any]) -> str:
    rows = []
    for name in timeline["slices"]:
        before, after = timeline["stage1"]["valid"][name], timeline["valid"][name]
        cells = [percent(block[kind]) for kind in ("accuracy", "paraphrase_accuracy") for block in (before, after)]
        rows.append(_row(name, cells))
    return (
        "<h2>Two stages</h2>\n<p>Stage 1 trains the whole network, stage 2 freezes all but the last layer and fits that "
        "once more to the same data. Both columns count everything that is true at the slice.</p>"
        '<div class="wide"><table><tr><th>slice</th><th class="n">after stage 1</th><th class="n">after stage 2</th>'
        f'<th class="n">reworded, 1</th><th class="n">reworded, 2</th></tr>{"".join(rows)}</table></div>'
    )


def _glossary() -> str:
    words = {
        "slice": "a period, such as a year, whose data arrives together",
        "retained": "facts of older slices that are still true",
        "forgetting": "how far the score on an old slice fell from its best, averaged over the old slices",
        "naive": "ordinary fine-tuning on the newest slice",
        "right": "the whole answer, word for word, and nothing after it",
    }
    return "<h2>Words</h2>\n<dl>" + "".join(f"<dt>{word}</dt><dd>{text}</dd>" for word, text in words.items()) + "</dl>"
