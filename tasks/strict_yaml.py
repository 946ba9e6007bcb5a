"""Reads YAML as DVC does, so that both see the same values: YAML 1.2, where `no` is a word and 020 is twenty.

Stricter than YAML in what is refused: aliases, keys that are no text, keys given twice, large files.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from tasks.errors import BadInput
from tasks.utf8 import read_utf8

MAX_BYTES = 256 * 1024
MAX_DEPTH = 50  # of lists within lists: the parser in C ends the whole process at some 100,000
CONFLICT = re.compile(r"^(<{7}|>{7})(?= |$)", re.MULTILINE)
NOT_YAML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # YAML 1.2.2, rule 1
TEXT = "tag:yaml.org,2002:str"


def read_yaml(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Read a file of keys and their values, as `load_yaml` does.

    Raises:
        BadInput: it can't be read, is not UTF-8, not such YAML, or something else than keys with values; by line.
    """
    text = read_utf8(path)
    loaded = load_yaml(text, path, max_bytes)
    if loaded is None:
        raise BadInput(f"{path} is empty: keys and their values are expected in it.")
    if not isinstance(loaded, dict):
        root = compose_yaml(text, path)
        line = root.start_mark.line + 1 if root else 1
        kind = "a list" if isinstance(loaded, list) else "a single value"
        raise BadInput(f"{path}, line {line}: keys and their values are expected, not {kind}.")
    return loaded


def load_yaml(text: str, path: Path, max_bytes: int = MAX_BYTES) -> Any:
    """Parse YAML without aliases (a few hundred bytes of them can expand to gigabytes).

    Args:
        text: what stands in the file.
        path: what the file is called in a sentence about it.
        max_bytes: of the text.

    Raises:
        BadInput: too large, an alias, a key that is given twice or is no string, or no YAML at all; by file and line.
    """
    if len(text.encode()) > max_bytes:
        raise BadInput(f"{path} is larger than {max_bytes // 1024} KiB.")
    _refuse_what_expands(text, path)
    try:
        loaded = YAML(typ="safe").load(text)
    except YAMLError as error:
        raise BadInput(_sentence(error, path)) from error
    except ValueError as error:  # a date without such a day, a number of thousands of digits
        raise BadInput(f"{path}{_line_of_no_value(text, path)}: {error}.") from error
    if not _has_text_keys(loaded):  # DVC silently drops a foreach group whose keys are integers
        raise BadInput(_wrong_key(text, path))
    return loaded


def compose_yaml(text: str, path: Path) -> Node | None:
    """The tree of nodes, with their places in the text; None if there is none.

    Raises:
        BadInput: no YAML.
    """
    _refuse_what_expands(text, path)
    try:
        node: Node | None = YAML(typ="safe").compose(text)
    except YAMLError as error:
        raise BadInput(_sentence(error, path)) from error
    return node


def last_leaf(node: Node) -> Node:
    """Where an entry of YAML that stands over several lines ends."""
    while isinstance(node, CollectionNode) and node.value and not node.flow_style:
        node = node.value[-1][1] if isinstance(node, MappingNode) else node.value[-1]
    return node


def refuse_conflicts(text: str, path: Path, mend: str = "Keep one side, and delete the lines of markers") -> None:
    """Raise BadInput, with the line and the mend, if a merge left both its sides in a file."""
    marks = list(CONFLICT.finditer(text))
    if {mark.group() for mark in marks} == {"<" * 7, ">" * 7}:
        line = text.count("\n", 0, marks[0].start()) + 1
        raise BadInput(f"{path}, line {line}: git left the two sides of a merge here. {mend}.")


def _refuse_what_expands(text: str, path: Path) -> None:
    refuse_conflicts(text, path)
    if found := NOT_YAML.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise BadInput(f"{path}, line {line}: YAML can't hold U+{ord(found[0]):04X}. Remove it.")
    depth = 0
    try:
        for event in YAML(typ="safe").parse(text):
            if isinstance(event, AliasEvent):
                raise BadInput(f"{path}, line {event.start_mark.line + 1}: aliases (*name) are not allowed.")
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise BadInput(f"{path}, line {event.start_mark.line + 1}: more than {MAX_DEPTH} lists within lists.")
    except YAMLError as error:
        raise BadInput(_sentence(error, path)) from error


def _has_text_keys(loaded: Any) -> bool:
    if isinstance(loaded, dict):
        return all(isinstance(key, str) and _has_text_keys(value) for key, value in loaded.items())
    return not isinstance(loaded, list) or all(map(_has_text_keys, loaded))


def _wrong_key(text: str, path: Path) -> str:
    for node in _nodes(compose_yaml(text, path)):
        for key, _ in node.value if isinstance(node, MappingNode) else ():
            if key.tag != TEXT:
                place = f"{path}, line {key.start_mark.line + 1}"
                if not isinstance(key, ScalarNode):
                    return f"{place}: a key must be a text, not a list or keys and values."
                return f'{place}: the key {key.value} must be quoted: "{key.value}".'
    return f"{path}: a key is no text. Quote it."


def _line_of_no_value(text: str, path: Path) -> str:
    for node in _nodes(compose_yaml(text, path)):
        if isinstance(node, ScalarNode):
            try:
                YAML(typ="safe", pure=True).constructor.construct_object(node)
            except (ValueError, YAMLError):
                return f", line {node.start_mark.line + 1}"
    return ""


def _nodes(root: Node | None) -> Iterator[Node]:
    """Every node, in the order of the text."""
    waiting = [root] if root is not None else []
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, MappingNode):
            waiting.extend(part for pair in reversed(node.value) for part in reversed(pair))
        elif not isinstance(node, ScalarNode):
            waiting.extend(reversed(node.value))


def _sentence(error: YAMLError, path: Path) -> str:
    problem = str(getattr(error, "problem", None) or " ".join(str(error).split()))
    if isinstance(error, DuplicateKeyError):  # it tells both values, too
        problem = f"{problem.removeprefix('found duplicate ').split(' with value ')[0]} is given twice"
    return f"{path}{line_of(error)}: {problem}."


def line_of(error: BaseException) -> str:
    """`, line 7` where a parser's error says where; else nothing."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return f", line {mark.line + 1}" if mark else ""
