"""Puts the scores of all slices together: matrices, averages, transfer, categories, stage by stage."""

from pathlib import Path
from typing import Any

from tasks import artifact
from tasks.errors import BadInput
from tasks.scoring.matrix import (
    average_accuracy,
    average_incremental_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
)

Scores = dict[str, Any]
KINDS = ("accuracy", "paraphrase_accuracy")


def read_scores(evaluation: Path) -> list[Scores]:
    """The scores of every slice, oldest first: a slice's model has been asked about one slice more."""
    folders = [path.parent for path in evaluation.glob("*/scores.json")]
    scores = [artifact.read_json(artifact.verified(folder) / "scores.json") for folder in folders]
    return sorted(scores, key=lambda each: len(each["model"]["accuracy"]))


def read_costs(cost: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Seconds and peak memory by slice and step."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for path in sorted(cost.glob("*/*.json")):
        found.setdefault(path.parent.name, {})[path.stem] = artifact.read_json(path)
    return found


def gather_timeline(scores: list[Scores], naive: list[Scores], costs: dict[str, Any]) -> dict[str, Any]:
    """Everything that reports/timeline.json holds; docs/formats.md says what each key means.

    Raises:
        BadInput: there are no scores, or a slice between the first and the last has none.
    """
    if not scores:
        raise BadInput("reports/evaluation has no scores. Run `perennial run` to evaluate the slices.")
    slices = [each["slice"] for each in scores]
    for place, each in enumerate(scores):
        if set(each["model"]["accuracy"]) != set(slices[: place + 1]):
            raise BadInput(
                f"reports/evaluation lacks the scores of a slice before {each['slice']}. Run `perennial run`."
            )
    model, before = _block(scores, slices, "model"), _block(scores, slices, "stage1")
    return {
        "slices": slices,
        **model,
        "categories": {each["slice"]: each["categories"] for each in scores},
        "valid": {each["slice"]: each["valid"] for each in scores},
        "forward_transfer": forward_transfer(_own(scores, "previous"), _own(scores, "base")),
        "base": {kind: [each["base"][kind][each["slice"]] for each in scores] for kind in (*KINDS, "perplexity")},
        "stage1": before
        | {
            "valid": {each["slice"]: each["stage1_valid"] for each in scores},
            "categories": {each["slice"]: each["stage1_categories"] for each in scores},
        },
        "stage2": {each["slice"]: _gains(each) for each in scores},
        "naive": _reference(scores[:1], naive),
        "retriever": {each["slice"]: each["retriever"] for each in scores},
        "seconds": {name: {step: cost["seconds"] for step, cost in steps.items()} for name, steps in costs.items()},
        "peak_memory_mb": max(
            (cost["peak_memory_mb"] for steps in costs.values() for cost in steps.values()), default=None
        ),
    }


def _block(scores: list[Scores], slices: list[str], which: str) -> dict[str, Any]:
    matrices = {
        kind: [[each[which][kind].get(name) for name in slices] for each in scores] for kind in (*KINDS, "perplexity")
    }
    if which == "model":
        for place, each in enumerate(scores[1:]):
            matrices["perplexity"][place][place + 1] = each["previous"]["perplexity"][each["slice"]]
    known = matrices["accuracy"]
    return {
        **matrices,
        "average_accuracy": average_accuracy(known),
        "average_incremental_accuracy": average_incremental_accuracy(known),
        "forgetting": forgetting(known),
        "backward_transfer": backward_transfer(known),
    }


def _reference(first: list[Scores], naive: list[Scores]) -> dict[str, Any] | None:
    """The naive reference; on the oldest slice there is nothing to keep, and both are one model."""
    if not naive:
        return None
    scores = [*first, *naive]
    slices = [each["slice"] for each in scores]
    matrices = {kind: [[each["model"][kind].get(name) for name in slices] for each in scores] for kind in KINDS}
    return {
        **matrices,
        "valid": {each["slice"]: each["valid"] for each in scores},
        "categories": {each["slice"]: each["categories"] for each in scores},
        "average_accuracy": average_accuracy(matrices["accuracy"]),
        "forgetting": forgetting(matrices["accuracy"]),
        "backward_transfer": backward_transfer(matrices["accuracy"]),
    }


def _own(scores: list[Scores], which: str) -> list[float | None]:
    return [each[which]["accuracy"][each["slice"]] for each in scores]


def _gains(scores: Scores) -> dict[str, float | None]:
    """What stage 2 changed in accuracy over all that is true, in both test sets."""
    return {
        kind: None if scores["valid"][kind] is None else scores["valid"][kind] - scores["stage1_valid"][kind]
        for kind in KINDS
    }
