"""How far a model's language has drifted from the base's: a ratio of perplexities, for gate, floor and trials."""

import math

Perplexities = dict[str, float | None]  # by language


def drift(after: Perplexities | None, before: Perplexities | None) -> dict[str, float] | None:
    """By language, how many times as perplexing the text became; None if one of them can't be compared."""
    if not after or not before or after.keys() != before.keys():
        return None
    found = {}
    for language in sorted(before):
        one, other = after[language], before[language]
        ratio = math.nan if one is None or not other else one / other
        if not math.isfinite(ratio):
            return None
        found[language] = ratio
    return found


def within(ratios: dict[str, float] | None, most: float) -> bool:
    """Whether the drift is known and no language's is more than `most`."""
    return ratios is not None and all(ratio <= most for ratio in ratios.values())


def drift_text(ratios: dict[str, float] | None) -> str:
    """Such as `en 1.020, ko 1.300`."""
    return "unknown" if ratios is None else ", ".join(f"{name} {ratio:.3f}" for name, ratio in ratios.items())
