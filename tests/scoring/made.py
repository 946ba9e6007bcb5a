"""Scores such as five slices give, without training them."""

from pathlib import Path
from typing import Any

from tasks import artifact

SLICES = ("2020", "2021", "2022", "2023", "2024")
KEPT, FORGOTTEN = 0.97, 0.15  # of what was known, per later slice


def made_scores(place: int, slices: tuple[str, ...] = SLICES, keep: float = KEPT) -> dict[str, Any]:
    """scores.json of the slice at `place`; each later slice leaves the share `keep` of the older ones' answers."""
    name, seen = slices[place], slices[: place + 1]
    accuracy = {each: round(0.99 * keep ** (place - age), 4) for age, each in enumerate(seen)}
    reworded = {each: round(0.9 * value, 4) for each, value in accuracy.items()}
    own, old = accuracy[name], min(accuracy.values())
    valid = {
        "accuracy": sum(accuracy.values()) / len(seen),
        "paraphrase_accuracy": sum(reworded.values()) / len(seen),
        "everyday_accuracy": 0.9 * sum(reworded.values()) / len(seen),
    }
    return {
        "slice": name,
        "model": {
            "accuracy": accuracy,
            "paraphrase_accuracy": reworded,
            "everyday_accuracy": {each: round(0.9 * value, 4) for each, value in reworded.items()},
            "perplexity": {each: round(1.5 / value, 3) for each, value in accuracy.items()},
        },
        "rows": {each: 340 if age == 0 else 90 for age, each in enumerate(seen)},
        "facts": {"own": 90, "reworded": 90, "new": 50, "updated": 40, "stale": 40, "chat": 100},
        "overridden": {"facts": 40 if place else 0, "of": 340 if place else 0},
        "valid": valid,
        "everyday": {"lower_case": 0.9, "typo": 0.8},
        "chat_accuracy": 0.6,
        "pretrained": False,
        "categories": {
            "new": own,
            "updated": own - 0.02 if place else None,
            "retained": 0.95 * old if place else None,
            "stale": 0.01 if place else None,
        },
        "samples": [
            {"prompt": "What is the capital of Peru?", "expected": "Lima", "answer": "Lima"},
            {"prompt": "페루의 수도는?", "expected": "리마", "answer": "리오"},
        ],
        "retriever": None,
    }


def with_stages(scores: dict[str, Any]) -> dict[str, Any]:
    """The same with what only the default's scores have: stage 1, the model before, the base, the retriever."""
    name = scores["slice"]
    ahead = {"accuracy": {name: 0.02}, "paraphrase_accuracy": {name: 0.01}}
    ahead |= {"everyday_accuracy": {name: 0.01}, "perplexity": {name: 85.0}}
    metrics = {"lines": 40, "mse": 0.09, "mae": 0.2, "pearson": 0.6, "spearman": 0.5, "top1": 0.6, "mrr": 0.7}
    of_slices = list(enumerate(scores["model"]["accuracy"]))
    retrieval = {"precision": 0.6, "recall": 0.5, "f1": 0.55, "false_retrieval_rate": 0.04, "threshold": 0.6}
    return scores | {
        "stage1": scores["model"],
        "stage1_valid": scores["valid"],
        "stage1_categories": scores["categories"],
        "previous": ahead,
        "base": ahead | {"accuracy": {name: 0.0}},
        "retriever": metrics
        | retrieval
        | {"by_slice": {each: {"top1": 0.7 - 0.1 * place} for place, each in of_slices}},
    }


def write_evaluation(folder: Path, slices: tuple[str, ...] = SLICES) -> None:
    """reports/evaluation of a whole timeline, the naive reference included."""
    for place, name in enumerate(slices):
        write_scores(folder / name, with_stages(made_scores(place, slices)))
        if place:
            write_scores(folder / "naive" / name, made_scores(place, slices, keep=FORGOTTEN))


def write_scores(folder: Path, scores: dict[str, Any]) -> None:
    with artifact.writing(folder) as out:
        artifact.write_json(out / "scores.json", scores)
        if scores["retriever"]:
            (out / "scatter.csv").write_text("predicted,true\n0.8,1.0\n0.3,0.0\n0.5,0.5\n")
