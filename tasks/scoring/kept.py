"""The gate's rules on what was kept: against the champion, slice by slice, too, and against every model that was
champion once.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tasks.params import Gate
from tasks.scoring.outcomes import is_clean, is_reworded
from tasks.scoring.pairing import bootstrap_bounds, differences, paired
from tasks.scoring.verdict import Evidence, Held, Rule, not_applied

KINDS: dict[str, Callable[[str], bool]] = {"retained facts": is_clean, "retained facts, reworded": is_reworded}
NO_OUTCOMES = "it has no outcomes: accuracies alone are compared"
FEWEST = 5  # facts of a slice: were all of fewer lost, that could be chance (five of five: one in 32)


def against_the_champion(settings: Gate, candidate: Evidence, champion: Evidence | None) -> Iterator[Rule]:
    """On the rows that both were asked, which are true for both, no more than the margin was lost, in each wording.

    It fails where more was lost. Where less was, but too few facts show it, or where fewer than retained_facts were
    asked of both, nothing is decided.
    """
    if why := _nothing_to_keep(candidate.scores, champion):
        yield not_applied("retained facts", why)
        return
    assert champion is not None
    if not champion.outcomes:
        yield _by_accuracies(candidate.scores, champion.scores, settings.retained_margin)
        return
    for kind in KINDS:
        yield _by_pairs(settings, kind, candidate, champion, settings.retained_margin)
    yield _worst_slice(settings, candidate, champion)


def against_the_former(settings: Gate, candidate: Evidence, former: Sequence[Evidence]) -> Iterator[Rule]:
    """Small losses add up: no more than the total margin was lost since any model that was champion.

    Facts go out of date, so of a long timeline's oldest models few are left to compare: those with fewer than
    retained_facts say nothing.
    """
    compared = [each for each in former if not _nothing_to_keep(candidate.scores, each)]
    for kind in KINDS:
        rules = [
            _by_pairs(settings, kind, candidate, each, settings.total_margin) for each in compared if each.outcomes
        ]
        rules = [rule for rule in rules if rule.interval]
        if kind == "retained facts":
            rules += [
                _by_accuracies(candidate.scores, each.scores, settings.total_margin)
                for each in compared
                if not each.outcomes
            ]
        name = f"{kind}, since the best champion"
        if rules:
            worst = min(rules, key=_room)
            yield Rule(name, worst.value, worst.bound, worst.interval, worst.decision, note=worst.note)
        else:
            yield not_applied(name, "no earlier champion has enough to compare with")


def _nothing_to_keep(scores: dict[str, Any], other: Evidence | None) -> str | None:
    """Why there is nothing to compare with another model; None if there is."""
    if other is None:
        return "there is no champion yet"
    if not any(other.scores.get("rows", {}).values()):
        return "the champion's slices had nothing to ask"
    same = other.scores["slice"] == scores["slice"]
    if same and not other.outcomes:
        return "the champion is of the same slice, and has no outcomes"
    older = any(rows for name, rows in scores["rows"].items() if name != scores["slice"])
    return None if same or older else "no older fact is still true"


def _by_pairs(settings: Gate, kind: str, candidate: Evidence, other: Evidence, margin: float) -> Rule:
    found = paired(candidate.outcomes, other.outcomes, KINDS[kind], settings.confidence)
    name, note = f"change in {kind}", f"since {other.scores['slice']}, {found.facts} facts in common"
    if found.facts < settings.retained_facts:
        note += f", {settings.retained_facts} asked"
        return Rule(name, found.difference if found.facts else None, -margin, None, "undecided", note=note)
    decision: Held = "ok" if found.lower >= -margin else "undecided" if found.difference >= -margin else "FAILED"
    return Rule(name, found.difference, -margin, (found.lower, found.upper), decision, note=note)


def _worst_slice(settings: Gate, candidate: Evidence, champion: Evidence) -> Rule:
    """No slice pays for the others: that which lost most fails where its facts show that this is more than the margin.

    Of many slices one looks bad by chance, so each bound holds with a confidence that all of them together have
    (Bonferroni); and where fewer than retained_facts say that much was lost, and the bound does not, it is no reason to
    wait for a person.
    """
    name, lost = "change in retained facts, worst slice", defaultdict(list)
    for fact, difference in differences(candidate.outcomes, champion.outcomes, is_clean).items():
        lost[fact.split("/")[0]].append(difference)
    slices = {each: found for each, found in lost.items() if len(found) >= FEWEST}
    if not slices:
        return not_applied(name, f"no slice has {FEWEST} facts in common with the champion")
    worst = min(slices, key=lambda each: sum(slices[each]) / len(slices[each]))
    found, margin = slices[worst], settings.slice_margin
    difference = sum(found) / len(found)
    lower, upper = bootstrap_bounds(found, 1 - (1 - settings.confidence) / len(slices))
    doubtful: Held = "undecided" if difference < -margin and len(found) >= settings.retained_facts else "ok"
    decision: Held = "FAILED" if upper < -margin else doubtful
    note = f"{worst}, {len(found)} facts in common; the worst of {len(slices)}"
    return Rule(name, difference, -margin, (lower, upper), decision, note=note)


def _by_accuracies(scores: dict[str, Any], other: dict[str, Any], margin: float) -> Rule:
    """The accuracy on retained facts against the other's on all that was true at its slice.

    Those are the facts that the candidate had to retain, save for the few that were updated since, so like is
    compared with like; the other's own retained facts would be other, older ones.
    """
    before, retained = _overall(other), scores["categories"]["retained"]
    known = before is not None and retained is not None and math.isfinite(before) and math.isfinite(retained)
    least = None if before is None else before - margin
    held = known and retained >= least
    shown = "unknown" if before is None else f"{before:.3f}"
    note = f"champion {other['slice']}: {shown}; {NO_OUTCOMES}"
    return Rule("retained", retained, math.nan if least is None else least, None, "ok" if held else "FAILED", note=note)


def _overall(scores: dict[str, Any]) -> float | None:
    """Both clean test sets together, as the categories count them."""
    valid = scores.get("valid", {})
    known = [valid[kind] for kind in ("accuracy", "paraphrase_accuracy") if valid.get(kind) is not None]
    return sum(known) / len(known) if known else None


def _room(rule: Rule) -> tuple[bool, float]:
    """How far above its bound a rule's value is, as far as that is sure; what failed comes before all else."""
    assert rule.bound is not None
    value = rule.interval[0] if rule.interval else rule.value
    room = -math.inf if value is None else value - rule.bound
    return rule.decision != "FAILED", room if math.isfinite(room) else -math.inf
