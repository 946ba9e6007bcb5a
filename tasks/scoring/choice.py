"""Which of the tried models to take, and why: as many right answers as questions can tell apart, then the smallest."""

import math
from typing import Any

from tasks.scoring.drift import drift
from tasks.scoring.proportions import clopper_pearson

CONFIDENCE = 0.95  # of the bound on the best one's share: what lies above it is as good
HARM = 2.0  # times as perplexing general text may become


def choose(trials: list[dict[str, Any]]) -> tuple[str | None, str]:
    """The model to take, and the sentence that says why; None if none will do.

    Left out are those that answer nothing rightly and those to which the short training made general text twice as
    perplexing. Of the others the best share of right answers has a lower bound (see proportions); whichever lies above
    it may be as good, and the one with the fewest parameters is taken.
    """
    harmed = [each["model"] for each in trials if harm_of(each) > HARM]
    usable = [each for each in trials if each["right"] and each["model"] not in harmed]
    aside = ""
    if harmed:
        named = ", ".join(harmed)
        aside = f" Left out, as ordinary text is more than twice as perplexing now, or its perplexity unknown: {named}."
    if not usable:
        reason = "" if any(each["right"] for each in trials) else " None answered a question rightly."
        return None, f"None of them is recommended.{reason}{aside}"
    best = max(usable, key=_share)
    bound, _ = clopper_pearson(best["right"], best["questions"], CONFIDENCE)
    equals = [each for each in usable if _share(each) >= bound]
    chosen = min(equals, key=lambda each: each["parameters"])
    if chosen is best:
        why = "the most" if len(trials) > 1 else "and there is no other to compare it with"
        why += ", and the smallest of those that may be as good" if len(equals) > 1 else ""
    else:
        why = (
            f"which so few questions can't tell from the {best['right']} of {best['model']}, with "
            f"{chosen['parameters'] / best['parameters']:.0%} of its parameters"
        )
    return chosen["model"], f"{chosen['model']}: {chosen['right']} of {chosen['questions']} right, {why}.{aside}"


def harm_of(trial: dict[str, Any]) -> float:
    """How many times as perplexing general text is after the training, in the language that suffered most."""
    ratios = drift(trial["perplexity_after"], trial["perplexity"])
    return max(ratios.values()) if ratios else math.inf


def _share(trial: dict[str, Any]) -> float:
    return float(trial["right"] / trial["questions"])
