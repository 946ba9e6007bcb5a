"""What a base model is: built here, or pretrained elsewhere and then trained at rates that suit what it knows.

The step that brings the base in writes it down beside the weights, and every model that is trained from it hands it
on. A built base has the rates of params.yaml's sections; a pretrained one its own, which were tried on itself.
"""

from pathlib import Path
from typing import Any

from tasks import artifact
from tasks.params import Stage1, Stage2

BASE = Path("method/base.json")
BUILT: dict[str, Any] = {"pretrained": False}


def base_of(model: Path) -> dict[str, Any]:
    """What the base of the model in `model` is, see docs/formats.md; built here if nothing is written there."""
    path = model / BASE
    return artifact.read_json(path) if path.exists() else BUILT


def write_base(folder: Path, base: dict[str, Any]) -> None:
    """Write beside the model in `folder` what its base is."""
    (folder / BASE).parent.mkdir(exist_ok=True)
    artifact.write_json(folder / BASE, base)


def stage1_for(settings: Stage1, previous: Path) -> Stage1:
    """The settings of stage 1 for the model in `previous`."""
    base = base_of(previous)
    return settings.model_copy(update={"learning_rate": base["learning_rate"]} if base["pretrained"] else {})


def stage2_for(settings: Stage2, model: Path) -> Stage2:
    """The settings of stage 2 for the model in `model`."""
    base = base_of(model)
    return settings.model_copy(update={"learning_rate": base["stage2_learning_rate"]} if base["pretrained"] else {})
