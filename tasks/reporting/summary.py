"""The table that `perennial run` ends with."""

from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tasks import artifact

WORDS = {"time": "slice", "domain": "domain"}  # what a slice is called, by params.yaml's `kind`
APART = (("as taught", "accuracy"), ("reworded", "paraphrase_accuracy"), ("everyday", "everyday_accuracy"))
LABELS = (("precision", "precision"), ("recall", "recall"), ("macro-F1", "macro_f1"))


def print_summary(console: Console, timeline: Path) -> None:
    """Print what each slice's model knows, next to the naive reference."""
    figures = artifact.read_json(timeline)
    word = WORDS[figures["kind"]]
    table = Table(
        title=f"What the model knows after each {word}",
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
    )
    table.add_column(word, no_wrap=True)
    for name in ("new", "updated", "retained", "stale", "all", "reworded", "everyday"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("naive", justify="right", style="dim", no_wrap=True)
    table.add_column("perplexity", justify="right", no_wrap=True)
    for place, name in enumerate(figures["slices"]):
        categories, valid = figures["categories"][name], figures["valid"][name]
        naive = figures["naive"]["valid"].get(name, {}).get("accuracy") if figures["naive"] else None
        perplexities = figures["perplexity"][place]
        own = perplexities[place]
        upcoming = perplexities[place + 1] if place + 1 < len(perplexities) else None
        table.add_row(
            name,
            *(percent(categories[kind]) for kind in ("new", "updated", "retained", "stale")),
            f"[bold]{percent(valid['accuracy'])}[/bold]",
            percent(valid["paraphrase_accuracy"]),
            percent(valid["everyday_accuracy"]),
            percent(naive),
            f"{number(own)} / {number(upcoming)}",
        )
    console.print(table)
    console.print(
        "Right answers, word for word, in %. all: every fact true then; reworded: in a\n"
        "wording not trained on; everyday: as people type, with greetings, typos, other\n"
        "words; stale: the old answer to an updated fact; naive: all, by plain\n"
        f"fine-tuning; perplexity: of the own / the next {word}'s statements.",
        style="dim",
        highlight=False,
    )
    console.print(_measures("default", figures), highlight=False)
    if figures["naive"]:
        console.print(_measures("naive", figures["naive"]), style="dim", highlight=False)
    last = figures["slices"][-1]
    if figures["pretrained"] and figures["general_perplexity"]:
        before, after = (figures["general_perplexity"][last][which] for which in ("base", "model"))
        drift = ", ".join(f"{each} {number(before[each])} to {number(after[each])}" for each in sorted(before))
        console.print(f"{'general:':<9}perplexity of ordinary text, from the base's: {drift}", highlight=False)
    if figures["few_shot"]:
        shots, valid = figures["few_shot"]["shots"], figures["few_shot"]["valid"][last]
        console.print(
            f"{f'{shots}-shot:':<9}all {percent(valid['accuracy'])}, reworded {percent(valid['paraphrase_accuracy'])}",
            highlight=False,
        )
    if figures["familiarity"] and last in figures["familiarity"]:
        found = figures["familiarity"][last]
        apart = ", ".join(f"{name} {percent(found[key]['auroc'])}" for name, key in APART)
        console.print(f"{'unknown:':<9}told from known ones (AUROC): {apart}", highlight=False)
    if figures["labels"] and last in figures["labels"]:
        labels = ", ".join(f"{name} {percent(figures['labels'][last][key])}" for name, key in LABELS)
        console.print(f"{'labels:':<9}{labels}", highlight=False)
    _written(console, figures, last)


def _written(console: Console, figures: dict[str, Any], last: str) -> None:
    if figures["written"] and last in figures["written"]:
        near = ", ".join(f"{name} {number(each['chrf'])}" for name, each in figures["written"][last].items())
        console.print(f"{'written:':<9}chrF {near}", highlight=False)


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _measures(name: str, block: dict[str, Any]) -> str:
    parts = [
        f"accuracy {percent(block['average_accuracy'])}",
        f"forgetting {percent(block['forgetting'])}",
        f"transfer back {percent(block['backward_transfer'])}",
    ]
    if "forward_transfer" in block:
        parts.append(f"forward {percent(block['forward_transfer'])}")
    return f"{name + ':':<9}{', '.join(parts)}"
