"""The scores as curves over the timeline: every metric with one point per slice, for MLflow's charts."""

from typing import Any

from tasks.params import Kind
from tasks.scoring.matrix import average_accuracy, forgetting

Scores = dict[str, Any]
Series = dict[str, list[tuple[int, float]]]

KINDS = ("accuracy", "paraphrase_accuracy", "everyday_accuracy", "perplexity")
RETRIEVER = ("top1", "mrr", "f1", "pearson")


def series_of(scores: list[Scores], kind: Kind = "time") -> Series:
    """Curves of the slices' scores, oldest first: `accuracy.2020` is what each model knows of 2020's facts.

    The step of a point is the slice's name where all names are rising numbers (2020, 2021), else its place; of
    domains always the place.
    """
    steps = steps_of([each["slice"] for each in scores]) if kind == "time" else list(range(len(scores)))
    points: Series = {}
    known: list[list[float | None]] = []
    for step, each in zip(steps, scores, strict=True):
        known.append([each["model"]["accuracy"].get(earlier["slice"]) for earlier in scores])
        values = {
            **each["categories"],
            **{f"valid.{kind}": value for kind, value in each["valid"].items()},
            **{f"{kind}.{name}": value for kind in KINDS for name, value in each["model"].get(kind, {}).items()},
            **{f"retriever.{name}": (each.get("retriever") or {}).get(name) for name in RETRIEVER},
            **{f"labels.{name}": value for name, value in each.get("labels", {}).items()},
            **{f"written.{name}": found["chrf"] for name, found in each.get("written", {}).items()},
            **{f"few_shot.{name}": value for name, value in each.get("few_shot", {}).get("valid", {}).items()},
            **{f"familiarity.{name}": value for name, value in _aurocs(each).items()},
            "chat_accuracy": each.get("chat_accuracy"),
            **{f"general_perplexity.{name}": value for name, value in _general(each).items()},
            "average_accuracy": average_accuracy(known),
            "forgetting": forgetting(known),
        }
        for name, value in values.items():
            if value is not None:
                points.setdefault(name, []).append((step, value))
    return points


def _aurocs(scores: Scores) -> dict[str, float]:
    return {kind: each["auroc"] for kind, each in scores.get("familiarity", {}).items() if kind != "risk"}


def _general(scores: Scores) -> dict[str, float | None]:
    return (scores.get("general_perplexity") or {}).get("model", {})


def steps_of(names: list[str]) -> list[int]:
    """The slices' places on MLflow's axis."""
    if all(name.isascii() and name.isdigit() and len(name) < 10 for name in names):
        numbers = [int(name) for name in names]
        if sorted(set(numbers)) == numbers:
            return numbers
    return list(range(len(names)))
