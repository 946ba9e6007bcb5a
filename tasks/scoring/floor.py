"""The floor under a timeline: what a slice's model must know at least before the next slice is trained on it."""

import math
from typing import Any

from tasks.params import Floor
from tasks.scoring.drift import drift, drift_text, within
from tasks.scoring.gate import nothing_own


def below(floor: Floor, scores: dict[str, Any]) -> str | None:
    """One sentence that names every measure below its floor, and general text above its limit; None if all hold.

    A measure holds only if it is a number and at least the floor. Two measures can't be taken of some slices: new
    facts of a slice that only updates older ones (then all of the slice's own test rows are taken, as the gate
    does; none are taken of a slice that brought nothing to learn or nothing to ask), and retained facts where no
    older fact is still true. Where no slice so far has anything to ask, nothing is measured.

    Args:
        floor: from params.yaml.
        scores: scores.json of a slice.
    """
    name, categories = scores["slice"], scores["categories"]
    own = scores["model"]["accuracy"].get(name)
    measured = {
        "new": own if categories["new"] is None else categories["new"],
        "retained": categories["retained"],
        "valid": scores["valid"]["accuracy"],
    }
    if nothing_own(scores):
        del measured["new"]
    if not any(count for older, count in scores["rows"].items() if older != name):
        del measured["retained"]
    if not any(scores["rows"].values()):
        del measured["valid"]
    broken = []
    for measure, value in measured.items():
        least = getattr(floor, measure)
        if least is not None and not (value is not None and math.isfinite(value) and value >= least):
            shown = "unknown" if value is None else f"{value:.3f}"
            broken.append(f"{measure} is {shown}, below its floor of {least:.3f}")
    if floor.general is not None:
        found = scores.get("general_perplexity") or {}
        ratios = drift(found.get("model"), found.get("base"))
        if not within(ratios, floor.general):
            shown = f"is {drift_text(ratios)}, where at most {floor.general:.3f} is allowed"
            broken.append(f"general text's perplexity over the base's {shown}")
    if not broken:
        return None
    return (
        f"The timeline stops after slice {name}: {', and '.join(broken)}. Change how it is trained (methods, stage1) "
        "or its data, or lower the floor in params.yaml; then `perennial run`."
    )
