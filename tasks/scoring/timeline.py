"""Puts the scores of all slices together: matrices, averages, transfer, categories, stage by stage."""

import math
from pathlib import Path
from typing import Any

from tasks import artifact
from tasks.errors import BadInput
from tasks.params import Kind
from tasks.scoring.matrix import (
    average_accuracy,
    average_incremental_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
)

Scores = dict[str, Any]
CLEAN = ("accuracy", "paraphrase_accuracy")
KINDS = (*CLEAN, "everyday_accuracy")
CATEGORIES = ("new", "updated", "retained", "stale")
OF_ALL = ("model",)
OF_THE_DEFAULT = ("model", "stage1", "previous", "base")


def read_scores(evaluation: Path, blocks: tuple[str, ...] = OF_ALL) -> list[Scores]:
    """The scores of every slice, oldest first: a slice's model has been asked about one slice more.

    Raises:
        BadInput: a score is missing, or no finite number. (None is a score: nothing could be asked.)
        Corrupt: a file was changed.
    """
    paths = sorted(evaluation.glob("*/scores.json"))
    scores = [_checked(artifact.verified(path.parent) / path.name, blocks) for path in paths]
    return sorted(scores, key=lambda each: len(each["model"]["accuracy"]))


def _checked(path: Path, blocks: tuple[str, ...]) -> Scores:
    scores: Scores = artifact.read_json(path)
    own = scores.get("slice", "")
    scored_slices = set(scores.get("model", {}).get("accuracy", {}))
    needed = {f"{block}.{kind}": scored_slices if block in ("model", "stage1") else {own}
              for block in blocks for kind in (*KINDS, "perplexity")}  # fmt: skip
    needed |= {"valid": set(KINDS), "categories": set(CATEGORIES), "everyday": set(scores.get("everyday", ("typo",)))}
    if "stage1" in blocks:
        needed |= {"stage1_valid": set(KINDS), "stage1_categories": set(CATEGORIES)}
    for where, names in needed.items():
        found: Any = scores
        for part in where.split("."):
            found = found.get(part, {})
        for name in sorted(names):
            value = found.get(name, math.nan)
            if value is not None and not math.isfinite(value):
                what = "is missing" if name not in found else "is no finite number"
                raise BadInput(f"{path}: {where}.{name} {what}. Delete {path.parent} and run `perennial run`.")
    return scores


def gather_timeline(scores: list[Scores], naive: list[Scores], kind: Kind = "time") -> dict[str, Any]:
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
        "kind": kind,
        "slices": slices,
        **model,
        "categories": {each["slice"]: each["categories"] for each in scores},
        "valid": {each["slice"]: each["valid"] for each in scores},
        "everyday": {each["slice"]: each["everyday"] for each in scores},
        "forward_transfer": forward_transfer(_own(scores, "previous"), _own(scores, "base")),
        "base": {kind: [each["base"][kind][each["slice"]] for each in scores] for kind in (*KINDS, "perplexity")},
        "stage1": before
        | {
            "valid": {each["slice"]: each["stage1_valid"] for each in scores},
            "categories": {each["slice"]: each["stage1_categories"] for each in scores},
        },
        "stage2": {each["slice"]: _gains(each) for each in scores},
        "naive": _reference(scores[:1], naive),
        "few_shot": _few_shot(scores, slices),
        "chat_accuracy": {each["slice"]: each.get("chat_accuracy") for each in scores},
        "pretrained": any(each.get("pretrained") for each in scores),
        "general_perplexity": _general(scores),
        "labels": {each["slice"]: each["labels"] for each in scores if "labels" in each} or None,
        "written": {each["slice"]: each["written"] for each in scores if "written" in each} or None,
        "memory": {each["slice"]: each["memory"] for each in scores if "memory" in each} or None,
        "familiarity": {each["slice"]: each["familiarity"] for each in scores if "familiarity" in each} or None,
        "retrieval_use": {each["slice"]: each["retrieval_use"] for each in scores if "retrieval_use" in each} or None,
        "retriever": {each["slice"]: each["retriever"] for each in scores},
        "retrievers": _retrievers(scores, slices),
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


def _retrievers(scores: list[Scores], slices: list[str]) -> dict[str, Any] | None:
    """The share of each slice's held-out lines whose best memory is right, by every slice's retriever."""
    found = [(each.get("retriever") or {}).get("by_slice") or {} for each in scores]
    if not any(found):
        return None
    matrix = [[each.get(name, {}).get("top1") for name in slices] for each in found]
    return {"top1": matrix, "forgetting": forgetting(matrix), "backward_transfer": backward_transfer(matrix)}


def _few_shot(scores: list[Scores], slices: list[str]) -> dict[str, Any] | None:
    """The accuracies with worked examples before each question; None unless every slice was asked so."""
    if not all("few_shot" in each for each in scores):
        return None
    few_shot = [each["few_shot"] for each in scores]
    matrices = {kind: [[each[kind].get(name) for name in slices] for each in few_shot] for kind in CLEAN}
    valid = {each["slice"]: each["few_shot"]["valid"] for each in scores}
    return {"shots": few_shot[-1]["shots"], **matrices, "valid": valid}


def _general(scores: list[Scores]) -> dict[str, Any] | None:
    """Perplexity of general text by slice, the model's and the base's, in each language."""
    return {each["slice"]: each["general_perplexity"] for each in scores if "general_perplexity" in each} or None


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
