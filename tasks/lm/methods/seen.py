"""How many slices a method has learnt from, in a small JSON file that each slice hands to the next."""

from pathlib import Path

from tasks import artifact


def slices_seen(previous: Path, name: str) -> int:
    """The slices that the model in `previous` has learnt with the method; the base model, and another's, has none."""
    path = previous / "method" / f"{name}.json"
    return int(artifact.read_json(path)["slices"]) if path.exists() else 0


def count_slice(out: Path, name: str, seen: int) -> None:
    """Write into the folder `out` that one more slice was learnt, after `seen`."""
    out.mkdir(exist_ok=True)
    artifact.write_json(out / f"{name}.json", {"slices": seen + 1})
