"""The comparison's figures: scores and costs of all entries, per seed, with mean and spread over the seeds."""

import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

from tasks import artifact
from tasks.method_kinds import Family
from tasks.params import Entry, Params
from tasks.scoring.matrix import (
    average_accuracy,
    average_incremental_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
)

Run = tuple[str, int]  # entry, seed
Numbers = dict[str, float | None]

NAIVE = "naive"  # the entry that trains on the newest slice only
BASELINES, REHEARSAL, COMBINED, SOLVED = "baselines", "rehearsal", "combined", "solved memory"
FAMILIES = (*get_args(Family), COMBINED, SOLVED)  # in the order of the pictures' colours
STAGES = ("stage1", "stage2")
TERA = 1e12


def gather_comparison(params: Params, finished: dict[Run, list[Path]], failed: dict[Run, str]) -> dict[str, Any]:
    """Everything that reports/methods.json holds; docs/formats.md says what each key means.

    Args:
        params: all settings.
        finished: of an entry and a seed, the folders of its slices (see tasks/comparison.py), oldest first.
        failed: why an entry has no result for a seed.
    """
    bounds = [name for name, entry in params.comparison.entries.items() if entry.joint]
    per_seed = {run: _with_curve(folders) for run, folders in finished.items()}
    bound = next((name for name in bounds if any(run[0] == name for run in per_seed)), None)
    entries = {}
    for name, entry in params.comparison.entries.items():
        seeds = {seed: found for (of, seed), found in per_seed.items() if of == name}
        reasons = {str(seed): reason for (of, seed), reason in failed.items() if of == name}
        if not seeds and not reasons:
            continue
        for seed, found in seeds.items():
            found["metrics"] |= _beside(found["metrics"], per_seed.get((bound or "", seed), {}).get("metrics"))
        metrics = [found["metrics"] for found in seeds.values()]
        entries[name] = {
            "family": family_of(entry),
            "methods": [method.model_dump(mode="json") for method in entry.methods],
            "keep": entry.keep.rows,
            "seeds": {str(seed): found for seed, found in seeds.items()},
            "mean": over_seeds(metrics, statistics.fmean),
            "spread": over_seeds(metrics, _deviation),
            "failed": reasons,
        }
    return {
        "kind": params.kind,
        "slices": list(params.timeline),
        "steps": params.comparison.steps,
        "joint": params.comparison.joint,
        "bound": bound,
        "naive": NAIVE if NAIVE in entries else None,
        "default": params.comparison.default if params.comparison.default in entries else None,
        "front": pareto_front(entries, bound),
        "entries": entries,
    }


def family_of(entry: Entry) -> str:
    """The family of an entry's methods; rehearsal is what others are added to, and several others are combined.

    What is solved needs no method.
    """
    if entry.stage2.how == "solved":
        return SOLVED
    families: set[str] = {method.family for method in entry.methods}
    if len(families) > 1:
        families -= {REHEARSAL}
    if not families:
        return BASELINES
    return families.pop() if len(families) == 1 else COMBINED


def pareto_front(entries: dict[str, Any], bound: str | None) -> list[str]:
    """The entries, cheapest first, of which none is both cheaper and better at keeping; the bound is left out."""
    points = [
        (name, each["mean"]["tflops"], each["mean"]["retained"])
        for name, each in entries.items()
        if name != bound and each["seeds"] and each["mean"]["retained"] is not None
    ]
    front, best = [], float("-inf")
    for name, _, kept in sorted(points, key=lambda point: (point[1], -point[2])):
        if kept > best:
            front.append(name)
            best = kept
    return front


def over_seeds(metrics: list[Numbers], measure: Callable[[list[float]], float | None]) -> Numbers:
    """A measure over the seeds of each metric; None if no seed has a value."""
    names = metrics[0] if metrics else ()
    columns = {name: [value for each in metrics if (value := each[name]) is not None] for name in names}
    return {name: measure(values) if values else None for name, values in columns.items()}


def _with_curve(folders: list[Path]) -> dict[str, Any]:
    scores = [artifact.read_json(artifact.verified(folder / "scores") / "scores.json") for folder in folders]
    costs = [artifact.read_json(folder / "cost.json") for folder in folders]
    return {
        "metrics": metrics_of(scores, costs),
        "by_slice": {
            "accuracy": [each["valid"]["accuracy"] for each in scores],
            "seconds": [_total(cost, "seconds") for cost in costs],
            "tflops": [_total(cost, "flops") / TERA for cost in costs],
            "peak_memory_mb": [max(cost[stage]["peak_memory_mb"] for stage in STAGES) for cost in costs],
            "stored_bytes": [cost["stored_bytes"] for cost in costs],
        },
    }


def metrics_of(scores: list[dict[str, Any]], costs: list[dict[str, Any]]) -> Numbers:
    """What one entry reached for one seed. Costs are those of the slices after the first, which all entries share."""
    slices, last = [each["slice"] for each in scores], scores[-1]
    known = [[each["model"]["accuracy"].get(name) for name in slices] for each in scores]
    before, base = (
        [each[which]["accuracy"][name] for each, name in zip(scores, slices, strict=True)]
        for which in ("previous", "base")
    )
    later, charged = scores[1:], costs[1:] or costs
    return {
        "accuracy": last["valid"]["accuracy"],
        "paraphrase_accuracy": last["valid"]["paraphrase_accuracy"],
        "everyday_accuracy": last["valid"]["everyday_accuracy"],
        "new": _mean(each["categories"]["new"] for each in later),
        "updated": _mean(each["categories"]["updated"] for each in later),
        "retained": last["categories"]["retained"],
        "stale": _mean(each["categories"]["stale"] for each in later),
        "average_accuracy": average_accuracy(known),
        "average_incremental_accuracy": average_incremental_accuracy(known),
        "forgetting": forgetting(known),
        "backward_transfer": backward_transfer(known),
        "forward_transfer": forward_transfer(before, base),
        "perplexity": _mean(last["model"]["perplexity"].values()),
        "seconds": _mean(_total(cost, "seconds") for cost in charged),
        "tflops": sum(_total(cost, "flops") for cost in charged) / TERA,
        "peak_memory_mb": max(cost[stage]["peak_memory_mb"] for cost in charged for stage in STAGES),
        "stored_bytes": float(costs[-1]["stored_bytes"]),
    }


def _beside(own: Numbers, bound: Numbers | None) -> Numbers:
    """The share of the bound's final accuracy, and of its operations."""
    return {
        "of_joint_accuracy": _share(own["accuracy"], bound["accuracy"]) if bound else None,
        "of_joint_tflops": _share(own["tflops"], bound["tflops"]) if bound else None,
    }


def _share(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def _total(cost: dict[str, Any], what: str) -> float:
    return float(sum(cost[stage][what] for stage in STAGES))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _deviation(values: list[float]) -> float | None:
    """The sample's standard deviation; one seed has none."""
    return statistics.stdev(values) if len(values) > 1 else None
