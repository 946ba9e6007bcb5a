"""Presets: settings of params.yaml for one model or one use, each a file in presets/.

A preset is laid over presets/small.yaml, and both over params.yaml, whose comments and other settings stay: so that
whoever reads params.yaml, DVC among them, sees what is used, and a preset leaves nothing of another one behind.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node

from tasks.errors import BadInput
from tasks.params import PARAMS, Params, Section
from tasks.sections import mistake
from tasks.strict_yaml import compose_yaml, last_leaf, read_yaml

PRESETS = Path("presets")
SMALL = "small"
WORD = re.compile(r"[A-Za-z~][\w./~-]*")

COMMENT = re.compile("( +)#")
Settings = dict[str, Any]
Edit = tuple[int, int, str]  # from, to, what stands there instead


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


def read_preset(name: str, folder: Path = PRESETS) -> Preset:
    """Read presets/NAME.yaml.

    Raises:
        BadInput: there is none, or it is not as a preset must be.
    """
    path = folder / f"{name}.yaml"
    if name not in names(folder):
        raise BadInput(f"There is no preset '{name}'. Known: {', '.join(names(folder))}.")
    try:
        file = _File.model_validate(read_yaml(path))
    except ValidationError as error:
        raise BadInput(f"{path}: {mistake(error)}.") from error
    return Preset(name, file.about, file.settings)


def names(folder: Path = PRESETS) -> list[str]:
    """Of all presets, `small` first."""
    found = sorted(path.stem for path in folder.glob("*.yaml"))
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


def with_settings(text: str, settings: Settings) -> str:
    """A YAML text with these values in the place of its own; comments and everything else stay.

    Raises:
        BadInput: it is no YAML of keys and values.
    """
    root = compose_yaml(text, PARAMS)
    if not isinstance(root, MappingNode):
        raise BadInput(f"{PARAMS}: keys and their values are expected in it.")
    for start, end, new in sorted(_edits(root, settings, text), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _edits(node: MappingNode, settings: Settings, text: str) -> list[Edit]:
    entries = {key.value: (key, value) for key, value in node.value}
    found: list[Edit] = []
    for name, new in settings.items():
        if name not in entries:
            found.append(_added(node, f"{_inline(name)}: {_inline(new)}"))
            continue
        key, old = entries[name]
        if isinstance(new, dict) and new and isinstance(old, MappingNode) and old.value:
            found += _edits(old, new, text)
        elif _value(old) != new:
            found.append(_replaced(key, old, _inline(new), text))
    return found


def _replaced(key: Node, old: Node, new: str, text: str) -> Edit:
    """A value instead of another one; a comment behind it keeps its column where there is room."""
    start, end = key.end_mark.index, last_leaf(old).end_mark.index
    end = max(end, text.index(":", start) + 1)  # of an empty value
    end = start + len(text[start:end].rstrip())  # a text over several lines ends where the next begins
    new = f": {new}"
    if gap := COMMENT.match(text, end):
        spaces = max(1, len(gap[1]) + end - start - len(new))
        return start, gap.end(1), new + " " * spaces
    return start, end, new


def _added(node: MappingNode, line: str) -> Edit:
    """A key of its own, before the first one."""
    first = node.value[0][0].start_mark
    return first.index, first.index, f"{line}, " if node.flow_style else f"{line}\n{' ' * first.column}"


def _value(node: Node) -> Any:
    return YAML(typ="safe", pure=True).constructor.construct_document(node)


def _inline(value: Any) -> str:
    """A value as YAML within one line: as JSON, of which every text is YAML, but words without quotation marks."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_inline(key)}: {_inline(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    plain = isinstance(value, str) and WORD.fullmatch(value) and YAML(typ="safe").load(value) == value
    return value if plain else json.dumps(value, ensure_ascii=False)
