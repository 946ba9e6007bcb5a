"""Decides from measured numbers whether a slice's model may become champion."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tasks.params import Gate
from tasks.scoring.drift import drift, drift_text, within


@dataclass(frozen=True)
class Verdict:
    """accepted, and a sentence for each rule: what was measured against what."""

    accepted: bool
    reasons: tuple[str, ...]


def decide(settings: Gate, candidate: dict[str, Any], champion: dict[str, Any] | None) -> Verdict:
    """Accept only if every rule holds; a number that is missing or not finite fulfils no rule.

    1. All metrics of the candidate are finite.
    2. It has learnt its own slice: its new facts, where the slice has any, and all of the slice's own test rows are
       each answered at or above new_floor. Where the slice brought nothing to learn, or nothing to ask, the rule does
       not apply.
    3. It has kept the old: its accuracy on retained facts is at least the champion's on all facts valid at the
       champion's own slice, less retained_margin. Those are the facts that the candidate had to retain, save for the
       few that were updated since, so like is compared with like; the champion's own retained facts would be other,
       older ones. Where no older fact is still true there is nothing to keep, and where the champion's slices had
       nothing to ask there is nothing to compare with: the rule does not apply.
    4. It still reads general text: if the base was pretrained elsewhere, in each language the perplexity is at most
       (1 + general_margin) times the base's. To compare with the champion's would let it slide, slice after slice.

    Args:
        settings: floor and margins.
        candidate: scores.json of the candidate.
        champion: scores.json of the champion; None before the first, and then rule 3 does not apply.
    """
    name, categories = candidate["slice"], candidate["categories"]
    broken = [metric for metric, value in _numbers("", candidate) if not math.isfinite(value)]
    checks = [(not broken, f"all metrics finite{': ' + ', '.join(broken[:3]) + ' not' if broken else ''}")]
    if missing := nothing_own(candidate):
        checks.append((True, f"slice {name} brought nothing to {missing}: its own facts are not judged"))
    else:
        learnt = {"own facts": candidate["model"]["accuracy"].get(name)}
        if categories["new"] is not None:
            learnt["new facts"] = categories["new"]
        for facts, value in learnt.items():
            rule = f"{facts} {_shown(value)}, at least {settings.new_floor:.3f} asked"
            checks.append((_at_least(value, settings.new_floor), rule))
    if champion and champion["slice"] != name and _has_older_rows(candidate) and any(champion["rows"].values()):
        before, retained = _overall(champion), categories["retained"]
        least = None if before is None else before - settings.retained_margin
        rule = f"retained {_shown(retained)}, at least {_shown(least)} asked"
        rule += f" (champion {champion['slice']}: {_shown(before)})"
        checks.append((_at_least(retained, least), rule))
    if candidate.get("pretrained"):
        found, most = candidate.get("general_perplexity") or {}, 1 + settings.general_margin
        ratios = drift(found.get("model"), found.get("base"))
        rule = f"general text's perplexity over the base's: {drift_text(ratios)}, at most {most:.3f} asked"
        checks.append((within(ratios, most), rule))
    return Verdict(
        all(held for held, _ in checks), tuple(f"{'ok' if held else 'FAILED'}: {rule}" for held, rule in checks)
    )


def nothing_own(scores: dict[str, Any]) -> str | None:
    """Why the slice's own facts say nothing of its model: there was nothing to learn, or nothing to ask; or None."""
    if scores.get("train_rows") == 0:
        return "learn"
    return "ask" if scores["rows"].get(scores["slice"]) == 0 else None


def _at_least(value: float | None, floor: float | None) -> bool:
    return value is not None and floor is not None and math.isfinite(value) and value >= floor


def _has_older_rows(scores: dict[str, Any]) -> bool:
    return any(rows for name, rows in scores["rows"].items() if name != scores["slice"])


def _overall(scores: dict[str, Any]) -> float | None:
    """Both clean test sets together, as the categories count them."""
    valid = scores["valid"]
    known = [valid[kind] for kind in ("accuracy", "paraphrase_accuracy") if valid[kind] is not None]
    return sum(known) / len(known) if known else None


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(f"{name}.{key}" if name else key, inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, float(value)
