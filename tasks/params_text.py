"""Edits the text of params.yaml: values, keys and lines of it, while comments and everything else stay as they are."""

import json
import re
from collections.abc import Collection
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node

from tasks.errors import BadInput
from tasks.params import PARAMS
from tasks.strict_yaml import compose_yaml, last_leaf

WORD = re.compile(r"[A-Za-z~][\w./~-]*")
COMMENT = re.compile("( +)#")
Settings = dict[str, Any]
Edit = tuple[int, int, str]  # from, to, what stands there instead


def with_settings(text: str, settings: Settings) -> str:
    """A YAML text with these values in the place of its own; comments and everything else stay.

    Raises:
        BadInput: it is no YAML of keys and values.
    """
    for start, end, new in sorted(_edits(_section(text), settings, text), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def with_line(text: str, section: str, line: str) -> str:
    """A YAML text with one more line at the end of a section, where a person wrote one entry per line, or none yet.

    Raises:
        BadInput: the section's entries stand within one line.
    """
    node = _section(text, section)
    if not node.value:  # {}
        start, end = node.start_mark.index, node.end_mark.index
        return f"{text[:start].rstrip()}\n  {line}{text[end:]}"
    if node.flow_style:
        raise BadInput(f"{PARAMS}: write '{section}' with one slice per line, so that a line can be added.")
    first, last = node.value[0][0], last_leaf(node)
    lines = text.splitlines(keepends=True)
    if not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    lines.insert(last.end_mark.line + 1, " " * first.start_mark.column + line + "\n")
    return "".join(lines)


def without(text: str, section: tuple[str, ...], names: Collection[str]) -> str:
    """A YAML text without these keys of a section; no other line changes, but the section's where nothing is left.

    Args:
        text: of params.yaml.
        section: ("timeline",), or ("comparison", "entries").
        names: the keys; those that it lacks are no matter.

    Raises:
        BadInput: the section's entries stand within one line.
    """
    key, node = _entry(_section(text, *section[:-1]), section[-1])
    entries = [(key, value) for key, value in node.value if key.value in names]
    if not entries:
        return text
    if node.flow_style:
        raise BadInput(f"{PARAMS}: write '{section[-1]}' with one slice per line, so that a line can be taken out.")
    lines = text.splitlines(keepends=True)
    if len(entries) == len(node.value):
        line = lines[key.end_mark.line]
        place = line.index(":", key.end_mark.column) + 1
        lines[key.end_mark.line] = f"{line[:place]} {{}}{line[place:]}"
    gone = {
        number for key, value in entries for number in range(key.start_mark.line, last_leaf(value).end_mark.line + 1)
    }
    return "".join(line for number, line in enumerate(lines) if number not in gone)


def _section(text: str, *names: str) -> MappingNode:
    """A mapping in the text: the whole, or what lies under these keys."""
    node = compose_yaml(text, PARAMS)
    if not isinstance(node, MappingNode):
        raise BadInput(f"{PARAMS}: keys and their values are expected in it.")
    for name in names:
        node = _entry(node, name)[1]
    return node


def _entry(node: MappingNode, name: str) -> tuple[Node, MappingNode]:
    return next((key, value) for key, value in node.value if key.value == name)


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
