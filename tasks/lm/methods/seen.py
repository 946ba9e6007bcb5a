"""What the model before a slice has learnt, in two small files that each slice hands to the next."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tasks import artifact
from tasks.lm.pretrained import BASE, base_of

SLICES = "slices.json"  # {"slices": how many were learnt, "by_method": {name: how many of them by it}}


@dataclass(frozen=True)
class Seen:
    """slices: that the model has learnt. own: of these, by the method that is asked. pretrained: the base elsewhere."""

    slices: int = 0
    own: int = 0
    pretrained: bool = False

    @property
    def knows(self) -> bool:
        """Whether there is something to keep: a base that was built here speaks, but knows no answers yet."""
        return self.slices > 0 or self.pretrained


def seen_in(previous: Path, method: str = "", learns: bool = True) -> Seen:
    """What the model in `previous` has learnt.

    Args:
        previous: a model's folder.
        method: whose own slices are counted.
        learns: false if the slice is only shown to a model that has just learnt it (a comparison's first one): then
            it is not counted, and what is told is what was known before it.
    """
    counts = _counts(previous)
    shown = 0 if learns else 1
    return Seen(
        slices=max(0, counts["slices"] - shown),
        own=max(0, counts["by_method"].get(method, 0) - shown),
        pretrained=bool(base_of(previous)["pretrained"]),
    )


def count_slice(previous: Path, out: Path, methods: Iterable[str], learnt: bool) -> None:
    """Write into the folder `out` what the next slice will have before it; a slice that was only shown adds nothing."""
    counts = _counts(previous)
    if learnt:
        counts["slices"] += 1
        for name in methods:
            counts["by_method"][name] = counts["by_method"].get(name, 0) + 1
    out.mkdir(exist_ok=True)
    artifact.write_json(out / SLICES, counts)
    if (previous / BASE).exists():
        shutil.copy(previous / BASE, out / BASE.name)


def _counts(folder: Path) -> dict:
    path = folder / "method" / SLICES
    return artifact.read_json(path) if path.exists() else {"slices": 0, "by_method": {}}
