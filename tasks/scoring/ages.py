"""How a model's language ages: its perplexity of texts that were written after it was trained (Lazaridou et al. 2021,
arXiv 2102.01951)."""

import re
import statistics
from collections.abc import Sequence

from tasks.corpus.slices import Examples, Row
from tasks.scoring.sampling import trained_texts

MONTHS_A_YEAR = 12
DATED = re.compile(r"(?P<year>\d{4})(?:-(?P<month>0[1-9]|1[0-2]))?")
Perplexities = Sequence[Sequence[float | None]]  # [models, slices], both in order of time


def own_texts(slices: list[Examples]) -> dict[str, list[Row]]:
    """Of each slice the texts and statements that no slice is trained on."""
    trained = trained_texts(slices)
    return {
        each.name: [row for row in each.test if row["set"] == "statement" and row["target"] not in trained]
        for each in slices
    }


def months_of(name: str) -> int | None:
    """The month that a slice's name stands for, counted from year 0: 2024, 2024-03; None if it is no date."""
    found = DATED.fullmatch(name)
    return MONTHS_A_YEAR * int(found["year"]) + int(found["month"] or 1) - 1 if found else None


def curve(names: Sequence[str], perplexity: Perplexities) -> list[dict[str, float]]:
    """By how far a text is ahead of a model: the geometric mean of its perplexity over that of the text's own model.

    A slice's own model was trained when the text was new, on other texts of that time.

    Returns:
        Per distance, the least first: `ahead` (months, where all names are dates, else slices), `ratio`, and of how
        many `pairs` it is the mean.
    """
    months = [months_of(name) for name in names]
    places = [month for month in months if month is not None]
    at = places if len(places) == len(names) else list(range(len(names)))
    ratios: dict[int, list[float]] = {}
    for model, row in enumerate(perplexity):
        for text in range(model + 1, len(names)):
            stale, fresh = row[text], perplexity[text][text]
            if stale and fresh:
                ratios.setdefault(at[text] - at[model], []).append(stale / fresh)
    return [
        {"ahead": ahead, "ratio": statistics.geometric_mean(each), "pairs": len(each)}
        for ahead, each in sorted(ratios.items())
    ]
