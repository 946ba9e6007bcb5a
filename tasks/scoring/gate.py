"""Decides from measured numbers whether a slice's model may become champion."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tasks.params import Gate


@dataclass(frozen=True)
class Verdict:
    """accepted, and a sentence for each rule: what was measured against what."""

    accepted: bool
    reasons: tuple[str, ...]


def decide(settings: Gate, candidate: dict[str, Any], champion: dict[str, Any] | None) -> Verdict:
    """Accept only if every rule holds; a number that is missing or not finite fulfils no rule.

    1. All metrics of the candidate are finite.
    2. Its accuracy on its own slice's facts (new and updated ones, or its own test rows) is at least new_floor.
    3. Its accuracy on retained facts is at least the champion's on all facts valid at the champion's own slice,
       less retained_margin: those are the facts that the candidate had to retain, save for the few that were updated.

    Args:
        settings: floor and margin.
        candidate: scores.json of the candidate.
        champion: scores.json of the champion; None before the first, and then rule 3 does not apply.
    """
    broken = [name for name, value in _numbers("", candidate) if not math.isfinite(value)]
    own = candidate["model"]["accuracy"].get(candidate["slice"])
    checks = [
        (not broken, f"all metrics finite{': ' + ', '.join(broken[:3]) + ' not' if broken else ''}"),
        (_at_least(own, settings.new_floor), f"own facts {_told(own)}, at least {settings.new_floor:.3f} asked"),
    ]
    if champion and champion["slice"] != candidate["slice"]:
        before, kept = _overall(champion), candidate["categories"]["retained"]
        least = None if before is None else before - settings.retained_margin
        told = f"retained {_told(kept)}, at least {_told(least)} asked (champion {champion['slice']}: {_told(before)})"
        checks.append((least is None or _at_least(kept, least), told))
    return Verdict(
        all(held for held, _ in checks), tuple(f"{'ok' if held else 'FAILED'}: {told}" for held, told in checks)
    )


def _at_least(value: float | None, floor: float) -> bool:
    return value is not None and math.isfinite(value) and value >= floor


def _overall(scores: dict[str, Any]) -> float | None:
    """Both test sets together, as the categories count them."""
    known = [value for value in scores["valid"].values() if value is not None]
    return sum(known) / len(known) if known else None


def _told(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(f"{name}.{key}" if name else key, inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, float(value)
