"""Compares two models on the test rows that both were asked, fact by fact.

A fact's wordings and languages are right or wrong together more often than not, so the fact is what is drawn: its
difference is the mean over its rows, and the bootstrap draws facts.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.scoring.outcomes import Outcomes, fact_of

RESAMPLES, SEED = 2000, 20


@dataclass(frozen=True)
class Paired:
    """facts: that both were asked about. difference: of the shares of right answers. lower, upper: its bounds."""

    facts: int
    difference: float = 0.0
    lower: float = 0.0
    upper: float = 0.0


def paired(candidate: Outcomes, other: Outcomes, counts: Callable[[str], bool], confidence: float) -> Paired:
    """How much more of what both were asked the candidate answers rightly than another model does.

    Args:
        candidate, other: right or wrong, by row.
        counts: which rows count.
        confidence: with which each bound holds by itself.
    """
    found = list(differences(candidate, other, counts).values())
    if not found:
        return Paired(0)
    return Paired(len(found), float(np.mean(found)), *bootstrap_bounds(found, confidence))


def differences(candidate: Outcomes, other: Outcomes, counts: Callable[[str], bool]) -> dict[str, float]:
    """By fact, the mean over its rows that both were asked: 1 if only the candidate was right, -1 if only the other."""
    by_fact: dict[str, list[int]] = defaultdict(list)
    for row in sorted(candidate.keys() & other.keys()):
        if counts(row):
            by_fact[fact_of(row)].append(candidate[row] - other[row])
    return {fact: sum(found) / len(found) for fact, found in by_fact.items()}


def bootstrap_bounds(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """Lower and upper bound of the mean by the percentile bootstrap (Efron and Tibshirani 1993, section 13.3).

    To draw as many values as there are, with replacement, is to draw how often each distinct value comes: a
    multinomial draw, of which 2,000 take no time. The percentiles are taken and not BCa's, which are not defined where
    all values are equal, as they are between two models that know the same.
    """
    distinct, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    draws = np.random.default_rng(SEED).multinomial(len(values), counts / len(values), size=RESAMPLES)
    lower, upper = np.quantile(draws @ distinct / len(values), [1 - confidence, confidence])
    return float(lower), float(upper)
