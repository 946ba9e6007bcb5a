"""The only reader of params.yaml: one frozen model per section, named like its step; unknown keys are errors."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tasks.errors import BadInput

PARAMS = Path("params.yaml")
MAX_BYTES = 256 * 1024
SLICE_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
BASE = "base"
RESERVED = {BASE, "naive"}

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Slice(Section):
    previous: str


class Dataset(Section):
    languages: tuple[str, ...]
    chat_repeats: Positive


class Pairs(Section):
    synonyms: tuple[tuple[str, ...], ...]
    max_rows: Positive


class Retriever(Section):
    model: str
    epochs: Positive
    batch_size: Positive
    learning_rate: Rate
    warmup: Share
    max_length: Positive
    threshold: Annotated[float, Field(ge=-1, le=1)]


class Pretrain(Section):
    slice: str
    model: str
    layers: Positive
    width: Positive
    heads: Positive
    positions: Positive
    vocabulary: Annotated[int, Field(ge=300)]
    steps: Positive
    batch_tokens: Positive
    learning_rate: Rate
    warmup: Share


class Stage1(Section):
    steps: Positive
    batch_tokens: Positive
    learning_rate: Rate
    warmup: Share
    checkpoint_every: Positive


class Replay(Section):
    """Experience replay: see tasks/lm/methods/replay.py."""

    name: Literal["replay"]
    share: Annotated[float, Field(gt=0, lt=1)]
    max_rows: Positive | None = None


class EWC(Section):
    """Online elastic weight consolidation: see tasks/lm/methods/ewc.py."""

    name: Literal["ewc"]
    strength: Rate
    decay: Share = 0.9
    samples: Positive = 256


Methods = tuple[Annotated[Replay | EWC, Field(discriminator="name")], ...]


class Stage2(Section):
    epochs: Annotated[int, Field(ge=0)]
    batch_positions: Positive
    learning_rate: Rate


class Evaluate(Section):
    batch_tokens: Positive
    samples: Positive


class Gate(Section):
    new_floor: Share
    retained_margin: Share


class Params(Section):
    seed: int
    threads: Positive
    timeline: dict[str, Slice]
    reference: dict[str, Slice]
    dataset: Dataset
    pairs: Pairs
    retriever: Retriever
    pretrain: Pretrain
    stage1: Stage1
    methods: Methods
    stage2: Stage2
    evaluate: Evaluate
    gate: Gate

    @model_validator(mode="after")
    def _slices_form_a_chain(self) -> "Params":
        if not self.timeline:
            raise ValueError("timeline is empty: name at least one slice")
        before = BASE
        for name, item in self.timeline.items():
            if not SLICE_NAME.fullmatch(name) or name in RESERVED:
                raise ValueError(f"'{name}' can't be a slice's name: use letters, digits, '.', '_' and '-'")
            if item.previous != before:
                raise ValueError(f"slice '{name}' must follow '{before}', not '{item.previous}'")
            before = name
        if self.pretrain.slice != next(iter(self.timeline)):
            raise ValueError(f"pretrain.slice must be the oldest slice, '{next(iter(self.timeline))}'")
        if unknown := self.reference.keys() - self.timeline.keys():
            raise ValueError(f"reference names slices that the timeline lacks: {', '.join(sorted(unknown))}")
        return self


def load_params(path: Path = PARAMS) -> Params:
    """Read and check params.yaml.

    Raises:
        BadInput: the file is missing, no YAML, or a key is unknown, missing or out of range.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} can't be read ({error}). Run the command in the project's folder.") from error
    try:
        return Params.model_validate(load_yaml(text, path))
    except ValidationError as error:
        # a misspelt key is also a missing one: the misspelling is what must be mended
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        where = ".".join(str(part) for part in first["loc"]) or "timeline"
        raise BadInput(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}.") from error


def load_yaml(text: str, path: Path) -> Any:
    """Parse YAML without aliases (a few hundred bytes of them can expand to gigabytes).

    Raises:
        BadInput: too large, an alias, a key that is given twice or is no string, or no YAML at all.
    """
    if len(text.encode()) > MAX_BYTES:
        raise BadInput(f"{path} is larger than {MAX_BYTES // 1024} KiB.")
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise BadInput(f"{path}{line}: {getattr(error, 'problem', None) or error}.") from error


class _StrictLoader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.composer.ComposerError(
                None, None, "aliases (*name) are not allowed", self.peek_event().start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key, (key_node, _) in zip(keys, node.value, strict=True):
            # DVC silently drops a foreach group whose keys are integers
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f'the key {key} must be quoted: "{key}"', key_node.start_mark
                )
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key} is given twice", key_node.start_mark
                )
        return super().construct_mapping(node, deep)
