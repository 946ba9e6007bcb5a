"""The report as one self-contained page, for a reader who has never heard of the project."""

import base64
from html import escape
from pathlib import Path
from typing import Any

from tasks.reporting.style import STYLE
from tasks.reporting.summary import APART, LABELS, WORDS, number, percent

WHY = {
    "time": "The world changes, and a language model knows it as it was on the day of its training. Train it on "
    "the news alone and it learns the news, but loses most of what it knew. Perennial brings a model up to date "
    "slice by slice, measures after each slice what it has learnt, kept and forgotten, and lets a new model "
    "serve only if it has kept the old.",
    "domain": "A language model knows what it was trained on. Train it on one domain after the other and it learns "
    "each, but loses most of those before. Perennial teaches a model domain by domain, measures after each domain "
    "what it has learnt, kept and forgotten, and lets a new model serve only if it has kept the old.",
}
PICTURES = (
    ("kept", "Kept or forgotten",
     "After each slice the model is asked about everything that is true at that time, whatever slice it came with. "
     "The blue line is the model as configured, the orange one was fine-tuned on each slice's news alone."),
    ("accuracy", "What each model knows of each slice",
     "A row is the model after one slice, a column are the facts that one slice brought and that still hold. Read a "
     "column downwards: where the numbers stay high, nothing was forgotten. On the right the questions are worded as "
     "such a fact was never asked for in training, so that remembering a sentence is not enough."),
    ("categories", "Learnt, replaced, kept",
     "New facts had to be learnt, updated ones to replace an older answer, retained ones to survive. Stale counts how "
     "often an updated fact still gets its old answer: there, less is better."),
    ("perplexity", "How surprising the text is",
     "Perplexity is about the number of words that the model wavers between; lower is better. A hollow point is the "
     "model of the slice before, which has not read that text yet. Where training reads it, it drops then; a solved "
     "memory learns questions and answers, and leaves text to the backbone as it is."),
    ("retriever", "The memory's retriever",
     "What can't be trained in, such as today's plans, is looked up by a second, smaller model. Each point is a pair "
     "of a memory and a message that it never saw: pairs that belong together should stand high on the right, others "
     "low on the left."),
)  # fmt: skip
GLOSSARY = (
    ("retained", "facts of older slices that are still true"),
    ("stale", "the old answer to a fact that has changed since"),
    ("reworded", "asked in a wording that was never trained on for such facts"),
    ("right", "the whole answer, word for word, and nothing after it"),
    ("everyday", "asked as people type: greeted, thanked for, in lower case, with a slip, in words of their own"),
    ("naive", "ordinary fine-tuning on the newest slice, and nothing else"),
    ("forgetting", "how far the score on an old slice has fallen from its best, averaged over the old slices"),
    ("backward transfer", "what later slices did to the score on older ones; below zero is loss"),
    ("forward transfer", "what a model knows of the next slice before it has seen it"),
)
ARRIVES = {
    "time": "a period, such as a year, or a subject whose data arrives together",
    "domain": "a subject or a task whose data arrives together; none is newer than another",
}
QUALITY = (("Pearson correlation", "pearson"), ("F1 at the threshold", "f1"))
KINDS = ("new", "updated", "retained", "stale")
POLICIES = {
    "never": "never",
    "always": "read",
    "gated": "read if unsure",
    "quote": "quoted",
    "gated_quote": "quoted if unsure",
}


def render_page(timeline: dict[str, Any], samples: list[dict[str, str]], plots: Path) -> str:
    """The HTML of the report, pictures and style inside, nothing fetched."""
    first, last = escape(timeline["slices"][0]), escape(timeline["slices"][-1])
    word = WORDS[timeline["kind"]]
    pictures = {
        name: picture(plots / f"{name}.png", *(text.replace("slice", word) for text in texts))
        for name, *texts in PICTURES
    }
    pictures["retriever"] += _retriever(timeline)
    parts = [
        _opening(timeline),
        *(pictures[name] for name in ("kept", "accuracy", "categories")),
        _slices_table(timeline),
        _few_shot(timeline),
        _labels(timeline),
        _written(timeline),
        _memory(timeline),
        _familiarity(timeline, plots),
        _retrieval_use(timeline),
        _samples_table(samples, word, last),
        pictures["perplexity"],
        _everyday(timeline),
        _general(timeline),
        _stages(timeline),
        pictures["retriever"],
        _glossary(timeline["kind"]),
        "<footer>Made by <code>perennial report</code>; every figure stands in <code>reports/timeline.json</code>. "
        'What it <a href="cost.html">cost</a> on this machine. '
        'Other methods: <a href="methods.html">compared</a> by <code>perennial methods</code>.</footer>',
    ]
    return whole_page(f"Perennial, {first} to {last}", parts)


def whole_page(title: str, parts: list[str], style: str = STYLE) -> str:
    """The HTML of a page; parts that are empty are left out."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _opening(timeline: dict[str, Any]) -> str:
    slices, word = timeline["slices"], WORDS[timeline["kind"]]
    valid, reference = timeline["valid"][slices[-1]], _naive(timeline, slices[-1])
    result = (
        f"Taken through {len(slices)} {word}{'s' if len(slices) > 1 else ''} of data, {escape(slices[0])} to "
        f"{escape(slices[-1])}, the model at the end answers <b>{percent(valid['accuracy'])} %</b> of all questions "
        "about what is true then"
    )
    figures = [(percent(valid["accuracy"]), "of all facts true at the end, asked as in training", "method")]
    if reference is not None:
        result += f"; fine-tuned on each {word}'s news alone, <i>{percent(reference)} %</i>"
        figures.append((percent(reference), "the same, fine-tuned on the news alone", "naive"))
    figures.append((percent(valid["paraphrase_accuracy"]), "of all facts, in a wording never trained on for them", ""))
    figures.append((percent(valid["everyday_accuracy"]), "of all facts, asked as people type", ""))
    boxes = "".join(
        f'<div class="{kind}"><b>{value}<small> %</small></b><span>{text}</span></div>' for value, text, kind in figures
    )
    return (
        "<header>\n<p class='name'>Perennial</p>\n<h1>A language model, kept current without forgetting</h1>\n"
        f'<p>{WHY[timeline["kind"]]}</p>\n<p class="result">{result}.</p>\n</header>\n'
        f'<div class="figures">{boxes}</div>'
    )


def picture(path: Path, title: str, text: str) -> str:
    """A heading, a sentence and the picture itself; nothing if it was not drawn."""
    if not path.exists():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        f"<h2>{title}</h2>\n<p>{text}</p>\n"
        f'<figure><img alt="{escape(title)}" src="data:image/png;base64,{data}"></figure>'
    )


def _slices_table(timeline: dict[str, Any]) -> str:
    rows = []
    for place, name in enumerate(timeline["slices"]):
        valid = timeline["valid"][name]
        cells = [percent(timeline["categories"][name][kind]) for kind in KINDS]
        cells += [percent(valid["accuracy"]), percent(valid["paraphrase_accuracy"])]
        cells += [percent(valid["everyday_accuracy"]), percent(_naive(timeline, name))]
        cells += [percent(timeline["chat_accuracy"][name]), number(timeline["perplexity"][place][place])]
        rows.append([name, *cells])
    ends = [("average accuracy", "average_accuracy"), ("forgetting", "forgetting")]
    ends += [("backward transfer", "backward_transfer"), ("forward transfer", "forward_transfer")]
    sentence = ", ".join(f"{label} {percent(timeline[key])}" for label, key in ends)
    if timeline["naive"]:
        sentence += f". Naive: average accuracy {percent(timeline['naive']['average_accuracy'])}"
        sentence += f", forgetting {percent(timeline['naive']['forgetting'])}"
    word = WORDS[timeline["kind"]]
    return (
        f"<h2>The figures</h2>\n<p>Per cent of right answers after each {word}. New to stale count both wordings; "
        "all, reworded, everyday and naive count every fact that is true then; chat is everyday talk, answered as "
        f"it was taught; perplexity is that of the {word}'s own text, as far as it was not trained on.</p>\n"
        + _table([word, *KINDS, "all", "reworded", "everyday", "naive", "chat", "perplexity"], rows)
        + f'\n<p class="soft">At the end: {sentence}.</p>'
    )


def _few_shot(timeline: dict[str, Any]) -> str:
    block, word = timeline["few_shot"], WORDS[timeline["kind"]]
    if not block:
        return ""
    rows = []
    for name in timeline["slices"]:
        both = (block["valid"][name], timeline["valid"][name])
        rows.append([name, *(percent(each[kind]) for each in both for kind in ("accuracy", "paraphrase_accuracy"))])
    return (
        f"<h2>With worked examples</h2>\n<p>The same questions, each after {block['shots']} answered ones about other "
        f"subjects of the same relation from the same {word}; beside them the answers without. Per cent right.</p>\n"
        + _table([word, "with, all", "with, reworded", "without, all", "without, reworded"], rows)
    )


def _memory(timeline: dict[str, Any]) -> str:
    block, word = timeline["memory"], WORDS[timeline["kind"]]
    if not block:
        return ""
    rows = [
        [name, f"{each['places']:,}", f"{each['buckets']}", f"{each['rank']:,.0f}", f"{each['features']:,}",
         percent(each["reproduced"]), f"{each['kept_bytes'] / 1e6:.1f}", f"{each['answering_bytes'] / 1e6:.1f}"]
        for name, each in block.items()
    ]  # fmt: skip
    head = [word, "questions in the sums", "buckets", "directions taken", "of", "reproduced, %"]
    head += ["kept, MB", "answering, MB"]
    return (
        "<h2>The solved memory</h2>\n<p>What it was taught is in sums, and no row is kept. Directions are taken by "
        "wordings as by facts, and by fewer where the ridge is larger. Reproduced is the share of the squares of all "
        "answers' codes that it still says: it falls as the directions run out, before answers do. Where "
        "stage2.solved.full of them are taken, the next slice opens another bucket.</p>\n" + _table(head, rows)
    )


def _familiarity(timeline: dict[str, Any], plots: Path) -> str:
    block, word = timeline["familiarity"], WORDS[timeline["kind"]]
    if not block:
        return ""
    rows = [
        [name, *(f"{percent(each[kind]['auroc'])} / {percent(each[kind]['refused'])}" for _, kind in APART)]
        for name, each in block.items()
    ]
    return (
        f"<h2>What it does not know</h2>\n<p>The model of the {word} before, asked what it was taught and what this "
        f"{word} brings as new. The memory's doubt tells the two apart: AUROC, in %, is how often it doubts an unknown "
        "question more than a known one; behind it, the share of unknown questions that are turned away where 2 % of "
        "the known ones are.</p>\n"
        + _table([word, *(name for name, _ in APART)], rows)
        + picture(plots / "familiarity.png", "How much may be answered", "Known and unknown questions together, those "
                  "answered first that are doubted least: how many of the answers are wrong.")
    )  # fmt: skip


def _general(timeline: dict[str, Any]) -> str:
    if not (timeline["pretrained"] and timeline["general_perplexity"]):
        return ""
    measured = timeline["general_perplexity"]
    languages = sorted(next(iter(measured.values()))["base"])
    rows = [
        [name, *(number(each[which].get(language)) for language in languages for which in ("base", "model"))]
        for name, each in measured.items()
    ]
    head = [f"{language}, {which}" for language in languages for which in ("before all", "after")]
    return (
        "<h2>General text</h2>\n<p>Perplexity of ordinary prose that no training row holds, by language: of the model "
        f"as it came, and after each {WORDS[timeline['kind']]}. Where it rises, the model unlearns the language.</p>\n"
        + _table([WORDS[timeline["kind"]], *head], rows)
    )


def _written(timeline: dict[str, Any]) -> str:
    if not timeline["written"]:
        return ""
    word = WORDS[timeline["kind"]]
    named = list(dict.fromkeys(name for each in timeline["written"].values() for name in each))
    rows = [
        [after, *(f"{each[name]['chrf']:.1f} / {each[name]['bleu']:.1f}" if name in each else "" for name in named)]
        for after, each in timeline["written"].items()
    ]
    return (
        f"<h2>Written answers</h2>\n<p>The {word}s whose answers are texts of their own, such as translations: chrF / "
        "BLEU of what the model writes beside what was expected, 0 to 100, by sacrebleu. Read a column downwards.</p>\n"
        + _table([f"after {word}", *named], rows)
    )


def _labels(timeline: dict[str, Any]) -> str:
    if not timeline["labels"]:
        return ""
    word = WORDS[timeline["kind"]]
    rows = [[name, *(percent(each[key]) for _, key in LABELS)] for name, each in timeline["labels"].items()]
    return (
        f"<h2>Labels</h2>\n<p>The {word}s whose answers are labels, taken together: precision, recall and F1 in per "
        "cent, each the plain mean over the labels. An answer that is no label is a miss.</p>\n"
        + _table([f"after {word}", *(title for title, _ in LABELS)], rows)
    )


def _retrieval_use(timeline: dict[str, Any]) -> str:
    if not timeline["retrieval_use"]:
        return ""
    word = WORDS[timeline["kind"]]
    rows = []
    for name, each in timeline["retrieval_use"].items():
        for group in ("known", "unseen"):
            if each[group]:
                cells = (percent(each[group][policy]) for policy in POLICIES)
                rows.append([name, group, *cells, POLICIES[each["best"]]])
    return (
        "<h2>With or without a document</h2>\n<p>Questions answered without a document, with the best-ranked of all "
        "facts' statements read before the question, or by quoting it; always, or only where the model is unsure or "
        "the document fits so well that it counts for more. "
        f"Known facts, and facts of the {word} asked of the model before it, which has not seen them. Per cent "
        "right.</p>\n" + _table([word, "facts", *POLICIES.values(), "best"], rows)
    )


def _naive(timeline: dict[str, Any], name: str) -> float | None:
    value: float | None = timeline["naive"]["valid"].get(name, {}).get("accuracy") if timeline["naive"] else None
    return value


def _samples_table(samples: list[dict[str, str]], word: str, last: str) -> str:
    if not samples:
        return ""
    rows = "".join(
        f'<tr class="{"right" if each["answer"] == each["expected"] else "wrong"}"><td>{escape(each["prompt"])}</td>'
        f"<td>{escape(each['answer'] or '(nothing)')}</td><td>"
        f"{'right' if each['answer'] == each['expected'] else escape(each['expected'])}</td></tr>"
        for each in samples
    )
    return (
        f"<h2>In its own words</h2>\n<p>Questions to the model after {last}, worded as training never worded them, "
        f"drawn evenly from all {word}s, with right and wrong answers as they came.</p>\n"
        '<div class="wide"><table class="words"><thead><tr><th>question</th><th>answer</th><th>expected</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _everyday(timeline: dict[str, Any]) -> str:
    """What each change to a question costs, after every slice."""
    kinds = sorted({kind for by_kind in timeline["everyday"].values() for kind in by_kind})
    if not kinds:
        return ""
    rows = [[name, *(percent(by_kind.get(kind)) for kind in kinds)] for name, by_kind in timeline["everyday"].items()]
    return (
        "<h2>As people type</h2>\n<p>Every fact that is true then is asked once more with one change: in lower case, "
        "with other punctuation, greeted, politely, with a typo, two words in the wrong order, or in a wording that no "
        "relation was trained in. Per cent right.</p>\n"
        + _table([WORDS[timeline["kind"]], *(kind.replace("_", " ") for kind in kinds)], rows)
    )


def _stages(timeline: dict[str, Any]) -> str:
    word, rows = WORDS[timeline["kind"]], []
    done = (
        f"Stage 1 trains the whole network on the oldest {word}, and hands it on after that. Stage 2 adds what each "
        f"{word} brings to the solved memory."
        if timeline["memory"]
        else "Stage 1 trains the whole network. Stage 2 freezes all but its last layer, the head, and fits that once "
        "more to the same data, because much forgetting sits there."
    )
    for name in timeline["slices"]:
        blocks = (timeline["stage1"]["valid"][name], timeline["valid"][name])
        kinds = ("accuracy", "paraphrase_accuracy")
        rows.append([name, *(percent(block[kind]) for kind in kinds for block in blocks)])
    return f"<h2>Two stages</h2>\n<p>{done} All facts true at the time, per cent right.</p>\n" + _table(
        [word, "after stage 1", "after stage 2", "reworded, 1", "reworded, 2"], rows
    )


def _retriever(timeline: dict[str, Any]) -> str:
    metrics = timeline["retriever"].get(timeline["slices"][-1])
    if not metrics or metrics.get("top1") is None:
        return ""
    parts = [f"the best memory is the right one for {percent(metrics['top1'])} % of the messages"]
    parts += [f"{label} {metrics[key]:.2f}" for label, key in QUALITY if metrics.get(key) is not None]
    if metrics.get("false_retrieval_rate") is not None:
        parts.append(
            f"where nothing fits, something is still retrieved for {percent(metrics['false_retrieval_rate'])} %"
        )
    word, slices, matrix = WORDS[timeline["kind"]], timeline["slices"], timeline["retrievers"]["top1"]
    rows = [[name, *(percent(score) for score in row)] for name, row in zip(slices, matrix, strict=True)]
    return (
        f'\n<p class="soft">On {metrics["lines"]} lines that were held out: {"; ".join(parts)}.</p>\n'
        f"<p>Each {word}'s retriever on the held-out lines of every {word} seen: messages whose best memory is the "
        f"right one, in per cent; forgetting {percent(timeline['retrievers']['forgetting'])}.</p>\n"
        + _table([f"retriever of, lines of {word}", *slices], rows)
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    titles = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="wide"><table class="numbers"><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _glossary(kind: str) -> str:
    words = [(WORDS[kind], ARRIVES[kind]), *((word, text.replace("slice", WORDS[kind])) for word, text in GLOSSARY)]
    return "<h2>Words</h2>\n<dl>" + "".join(f"<dt>{word}</dt><dd>{text}</dd>" for word, text in words) + "</dl>"
