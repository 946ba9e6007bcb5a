"""Presets: settings of params.yaml for one model or one use, each a file in presets/.

A preset is laid over presets/small.yaml, and both over params.yaml, whose comments and other settings stay: so that
whoever reads params.yaml, DVC among them, sees what is used, and a preset leaves nothing of another one behind.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from tasks.errors import BadInput
from tasks.params import PARAMS, Params, Section
from tasks.params_text import Settings, with_settings
from tasks.sections import mistake
from tasks.strict_yaml import read_yaml

PRESETS = Path("presets")
SMALL = "small"


class About(Section):
    """What a person wants to know before using a preset; the figures are told with where they come from."""

    what: str  # the model, and its languages
    parameters: str = ""
    licence: str
    memory: str = ""
    time: str = ""
    fetch: tuple[str, ...] = ()  # names for `perennial fetch-model`
    note: str = ""  # to be read before first use


class _File(Section):
    about: About
    settings: dict[str, Any]


@dataclass(frozen=True)
class Preset:
    name: str
    about: About
    settings: Settings


def read_preset(name: str, *folders: Path) -> Preset:
    """Read NAME.yaml in the first of the folders that has it.

    Raises:
        BadInput: there is none, or it is not as a preset must be.
    """
    if name not in names(*folders):
        raise BadInput(f"There is no preset '{name}'. Known: {', '.join(names(*folders))}.")
    path = next(path for folder in folders if (path := folder / f"{name}.yaml").is_file())
    try:
        file = _File.model_validate(read_yaml(path))
    except ValidationError as error:
        raise BadInput(f"{path}: {mistake(error)}.") from error
    return Preset(name, file.about, file.settings)


def names(*folders: Path) -> list[str]:
    """Of all presets in these folders, `small` first."""
    found = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    return sorted(found, key=lambda name: name != SMALL)


def laid_over(text: str, presets: list[Preset], small: Preset) -> str:
    """params.yaml's text with the settings of these presets, the later ones first, and else of `small`.

    Raises:
        BadInput: what results can't be used.
    """
    for preset in (small, *presets):
        text = with_settings(text, preset.settings)
        try:
            Params.model_validate(YAML(typ="safe").load(text))
        except ValidationError as error:
            raise BadInput(f"presets/{preset.name}.yaml does not fit {PARAMS}: {mistake(error)}.") from error
    return text
