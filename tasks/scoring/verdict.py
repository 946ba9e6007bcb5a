"""What the gate is given and what its rules say: what was measured against what, how sure that is, what follows."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from tasks.scoring.outcomes import Outcomes
from tasks.scoring.proportions import clopper_pearson

Held = Literal["ok", "FAILED", "undecided"]


@dataclass(frozen=True)
class Evidence:
    """What was measured of a slice's model: its scores.json, and its outcomes.json, by row right or wrong."""

    scores: dict[str, Any]
    outcomes: Outcomes = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """One rule of the gate.

    Attributes:
        name: what was measured.
        value: what came out; None if that is not known, or if the rule does not apply.
        bound: the least that is asked for, or the most that is allowed; None if the rule does not apply.
        interval: in which the value may lie, by the size of the sample.
        decision: undecided where a person must look.
        most: whether the bound is the most that is allowed.
        note: what else belongs to it; of a rule that does not apply, why.
    """

    name: str
    value: float | None
    bound: float | None
    interval: tuple[float, float] | None
    decision: Held
    most: bool = False
    note: str = ""

    @property
    def applies(self) -> bool:
        return self.bound is not None

    def told(self) -> str:
        """One sentence, without a full stop: `FAILED: new facts 0.500 (0.300 to 0.700), at least 0.800 asked`."""
        if not self.applies:
            return f"{self.decision}: {self.name}: {self.note}"
        interval = f" ({figure(self.interval[0])} to {figure(self.interval[1])})" if self.interval else ""
        asked = f"at most {figure(self.bound)} allowed" if self.most else f"at least {figure(self.bound)} asked"
        note = f" ({self.note})" if self.note else ""
        return f"{self.decision}: {self.name} {figure(self.value)}{interval}, {asked}{note}"


@dataclass(frozen=True)
class Verdict:
    """accepted, refused, or undecided, where a person must look; and the rules that say so."""

    decision: Literal["accepted", "refused", "undecided"]
    rules: tuple[Rule, ...]

    def told(self, *decisions: Held) -> str:
        """The rules in one line; of several decisions, those that were decided so."""
        return "; ".join(rule.told() for rule in self.rules if not decisions or rule.decision in decisions)


def verdict_in(decision: dict[str, Any]) -> Verdict | None:
    """The gate's verdict, from a decision as the registry keeps it; None if a person decided."""
    if "rules" not in decision:
        return None
    rules = [Rule(**rule | {"interval": tuple(rule["interval"] or ()) or None}) for rule in decision["rules"]]
    return Verdict(decision["decision"], tuple(rules))


def figure(value: float | None) -> str:
    """A number as a rule shows it: a count as it is, else three places."""
    if value is None or math.isnan(value):
        return "unknown"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def not_applied(name: str, why: str) -> Rule:
    """A rule that says nothing of this slice."""
    return Rule(name, None, None, None, "ok", note=why)


def at_least(
    name: str, share: float | None, asked: int | None, bound: float, confidence: float, note: str = ""
) -> Rule:
    """A share must not lie below the bound: it fails only where so many that were asked show that it does.

    Where even with no right answer they could not show it, and the share lies below, nothing is decided. Where it is
    not known how many were asked, the share alone is compared. A share that is no number fails.
    """
    if not _is_share(share):
        return Rule(name, share, bound, None, "FAILED", note=note)
    assert share is not None
    if asked is None:
        return Rule(name, share, bound, None, "ok" if share >= bound else "FAILED", note=note)
    interval = clopper_pearson(share * asked, asked, confidence)
    could_fail = clopper_pearson(0, asked, confidence)[1] < bound
    decision: Held = "FAILED" if not interval[1] >= bound else "ok" if share >= bound or could_fail else "undecided"
    return Rule(name, share, bound, interval, decision, note=note or _of(asked))


def at_most(name: str, share: float | None, asked: int | None, bound: float, confidence: float, note: str = "") -> Rule:
    """A share must not lie above the bound: at_least, of what was not so."""
    turned = at_least(name, None if share is None else 1 - share, asked, 1 - bound, confidence, note)
    interval = (1 - turned.interval[1], 1 - turned.interval[0]) if turned.interval else None
    return Rule(name, share, bound, interval, turned.decision, True, turned.note)


def _is_share(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and 0 <= value <= 1


def _of(asked: int) -> str:
    return f"of {asked}"
