"""How far a model's language has drifted from the base's: a ratio of perplexities, for gate, floor and trials."""

import math

Perplexities = dict[str, float | None]  # by language


def largest_ratio(after: Perplexities | None, before: Perplexities | None) -> float | None:
    """The largest factor by which a language's perplexity has risen; None if one of them can't be compared."""
    if not after or not before or after.keys() != before.keys():
        return None
    pairs = [(after[language], before[language]) for language in before]
    ratios = [one / other for one, other in pairs if one is not None and other]
    if len(ratios) < len(pairs) or not all(map(math.isfinite, ratios)):
        return None
    return max(ratios)
