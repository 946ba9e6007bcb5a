"""The only reader of params.yaml: one frozen model per section, named like its step; unknown keys are errors."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from tasks.corpus.text import entering_name, folded
from tasks.errors import BadInput
from tasks.litter import is_litter
from tasks.method_kinds import check_batches, check_rehearsal, fitting
from tasks.method_params import AnyMethod
from tasks.sections import Positive, Rate, Section, Seed, Share, mistake
from tasks.solved_params import Solved
from tasks.strict_yaml import read_yaml

PARAMS = Path("params.yaml")
LEAST_PART = 16  # tokens of a part of a batch: a short row
SLICE_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
BASE = "base"
SMALL = "small"  # a model that is built here
MIN_POSITIONS = 16  # or no question has room beside its answer
FIRST = "first"  # of the comparison: the folder of what all entries start from
RESERVED = {BASE, "naive", "topics", "general"}
Name = Annotated[str, AfterValidator(entering_name)]  # compared with what the data brings
Precision = Literal["float32", "bfloat16"]  # of the language model's matrix products on a CPU
Kind = Literal["time", "domain"]  # whether a later slice is newer, or only another one


def _one_small(model: str) -> str:
    return SMALL if model.strip().casefold() == SMALL else model.strip()


Model = Annotated[str, AfterValidator(_one_small)]  # small, a folder, or a name on the hub
Names = TypeVar("Names", bound=tuple[Any, ...])


def once(names: Names) -> Names:
    """The names themselves.

    Raises:
        ValueError: one stands there twice.
    """
    if twice := [each for place, each in enumerate(names) if each in names[:place]]:
        raise ValueError(f"{twice[0]} stands there twice: keep one")
    return names


class Slice(Section):
    previous: str


class Dataset(Section):
    languages: Annotated[tuple[Annotated[Name, AfterValidator(folded)], ...], Field(min_length=1), AfterValidator(once)]
    chat_repeats: Positive


class Pairs(Section):
    similarity: Literal["graded", "key_words"] = "graded"
    synonyms: tuple[Annotated[tuple[Name, ...], Field(min_length=1)], ...]
    max_rows: Positive


class Fitting(Section):
    """How a sentence encoder is trained."""

    batch_size: Annotated[int, Field(ge=2)]  # the others of a batch are what a message's memory is told from
    learning_rate: Rate
    warmup: Share


class Encoder(Fitting):
    model: Model
    epochs: Positive
    vocabulary: Annotated[int, Field(ge=100)]
    width: Positive
    max_length: Positive
    copies: Positive
    frozen: bool = False  # of a pretrained one a head over its states is trained, and not itself


class Retriever(Fitting):
    steps: Positive
    ranker: Literal["hybrid", "sbert", "dpr", "tfidf", "bm25"]
    threshold: Annotated[float, Field(ge=-1, le=1)]
    max_false: Annotated[float, Field(gt=0, lt=1)]
    calibration: Literal["all", "slices"] = "all"


class Pretrain(Section):
    slice: str | None  # None while the timeline is empty
    model: Model
    layers: Positive
    width: Positive
    heads: Positive
    positions: Annotated[int, Field(ge=MIN_POSITIONS, lt=2**31, strict=True)]
    vocabulary: Annotated[int, Field(ge=300)]
    steps: Positive
    batch_tokens: Positive
    learning_rate: Rate
    warmup: Share

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "Pretrain":
        if self.width % self.heads or self.width // self.heads % 8:
            raise ValueError(
                f"width {self.width} can't be shared by {self.heads} heads: each needs a multiple of 8 of it, "
                f"as {8 * self.heads} or {64 * self.heads} have"
            )
        return self


class Pretrained(Section):
    """Rates for what was pretrained elsewhere, instead of those for what is built here."""

    learning_rates: Annotated[tuple[Rate, ...], Field(min_length=1)] = (5e-5, 2e-5, 1e-5, 5e-6)
    trial_steps: Positive = 16
    general_margin: Share = 0.05
    stage2_learning_rate: Rate = 2e-5
    retriever_learning_rate: Rate = 2e-5


class Stage1(Section):
    steps: Annotated[int, Field(ge=0, lt=2**31, strict=True)]
    batch_tokens: Positive
    learning_rate: Rate
    warmup: Share
    checkpoint_every: Positive
    everyday: Share = 0.0
    patience: Annotated[int, Field(ge=0)] = 0
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.05
    look_every: Positive = 20
    accumulate: Positive = 1
    activation_checkpointing: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _a_part_holds_a_row(self) -> "Stage1":
        if self.accumulate > 1 and self.batch_tokens // self.accumulate < LEAST_PART:
            raise ValueError(
                f"accumulate {self.accumulate} makes parts of less than {LEAST_PART} tokens of a batch of "
                f"{self.batch_tokens}: at most {max(1, self.batch_tokens // LEAST_PART)} parts are of use"
            )
        return self


class Keep(Section):
    """Which training rows of older slices may be kept, and of what a pool is made, and how it is chosen."""

    rows: Literal["all", "capped", "none"]
    of: Literal["facts", "rows"] = "facts"
    share: Annotated[float, Field(gt=0, le=1)] = 0.1
    choose: Literal["balanced", "by_slice", "reservoir"] = "balanced"


Methods = tuple[AnyMethod, ...]


class Stage2(Section):
    how: Literal["refit", "solved"] = "refit"
    solved: Solved = Solved()
    epochs: Annotated[int, Field(ge=0)]
    everyday: Share = 0.0
    rows: Literal["same", "fresh", "older", "balanced"] = "same"
    max_rows: Positive = 2000
    anchor: Annotated[float, Field(ge=0)] = 0.0
    batch_positions: Positive
    learning_rate: Rate


class Evaluate(Section):
    batch_tokens: Positive
    samples: Positive
    rows: Positive = 6000
    shots: Annotated[int, Field(ge=0)] = 0
    retrieval: Annotated[int, Field(ge=0)] = 200
    written: Annotated[int, Field(ge=0)] = 200


class Chat(Section):
    """How users are answered."""

    answer_tokens: Positive = 64
    attempts: Positive = 3
    memories: Positive = 10_000
    chunks: Positive = 3
    combine: Literal["concatenate", "sequence", "token"] = "concatenate"
    index: Literal["auto", "flat", "ivf", "hnsw", "pgvector"] = "auto"
    parts: dict[Name, tuple[Name, ...]] = {}


class Gate(Section):
    """What a slice's model must show to become champion; docs/gate.md says how each is judged."""

    new_floor: Share
    retained_margin: Share
    updated_floor: Share = 0.8
    stale_ceiling: Share = 0.1
    reworded_floor: Share = 0.8
    slice_margin: Share = 0.2
    total_margin: Share = 0.1
    retained_facts: Positive = 20
    override_cap: Share = 0.25
    canary_lost: Annotated[int, Field(ge=0, strict=True)] = 0
    canary_same: Share = 0.5
    chat_floor: Share = 0.5
    retriever_floor: Share = 0.6
    false_ceiling: Share = 0.1
    retriever_margin: Share = 0.1
    served: Annotated[int, Field(ge=0, strict=True)] = 4
    confidence: Annotated[float, Field(ge=0.5, lt=1, strict=True)] = 0.95
    general_margin: Annotated[float, Field(ge=0)] = 0.25


class Registry(Section):
    """Names in MLflow, where one server may serve several projects."""

    model: Annotated[str, Field(pattern=r"^\w[\w.-]{0,99}$")] | None = None  # None: the project's folder's name
    owner: Annotated[str, Field(min_length=1, max_length=200)] | None = None  # None: this folder on this machine


class Floor(Section):
    """Below any of these, or above `general`, the timeline stops after the slice's evaluation; None is no floor."""

    new: Share | None = None
    retained: Share | None = None
    valid: Share | None = None
    general: Annotated[float, Field(gt=0)] | None = None


class Entry(Section):
    """One row of the comparison: every old row is kept and the head is refitted, unless it says otherwise.

    Other settings of stage 2 that it does not name are the pipeline's.
    """

    methods: Methods = ()
    keep: Keep = Keep(rows="all")
    stage2: Stage2
    joint: bool = False

    _fit = field_validator("methods")(fitting)


class Comparison(Section):
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(once)]
    first: Methods
    steps: Positive
    joint: Rate
    processes: Positive
    default: str
    entries: dict[str, Entry]

    _fit = field_validator("first")(fitting)

    @model_validator(mode="after")
    def _entries_have_names(self) -> "Comparison":
        if wrong := [name for name in self.entries if not SLICE_NAME.fullmatch(name) or name == FIRST]:
            raise ValueError(
                f"'{wrong[0]}' can't be an entry's name, which is a folder's: use letters, digits, '.', '_' and '-', "
                f"and not '{FIRST}'"
            )
        if self.entries and self.default not in self.entries:
            raise ValueError(f"default is '{self.default}', which is none of entries: {', '.join(self.entries)}")
        return self


class Params(Section):
    seed: Seed
    threads: Positive
    precision: Precision = "float32"
    kind: Kind = "time"
    sync: Annotated[bool, Field(strict=True)] = False
    timeline: dict[str, Slice]
    reference: dict[str, Slice]
    dataset: Dataset
    encoder: Encoder
    pairs: Pairs
    retriever: Retriever
    pretrain: Pretrain
    pretrained: Pretrained = Pretrained()
    stage1: Stage1
    keep: Keep
    methods: Methods
    stage2: Stage2
    evaluate: Evaluate
    chat: Chat = Chat()
    gate: Gate
    registry: Registry = Registry()
    floor: Floor = Floor()
    comparison: Comparison

    _fit = field_validator("methods")(fitting)

    @model_validator(mode="before")
    @classmethod
    def _entries_change_single_settings(cls, sections: Any) -> Any:
        """Complete each entry's stage2 from the pipeline's."""
        try:
            pipeline, entries = {**sections["stage2"], "how": "refit"}, sections["comparison"]["entries"]
            completed = {
                name: {**entry, "stage2": {**pipeline, **(entry.get("stage2") or {})}}
                for name, entry in entries.items()
            }
        except (AttributeError, KeyError, TypeError):
            return sections  # what is missing, or no mapping, is told below
        return {**sections, "comparison": {**sections["comparison"], "entries": completed}}

    @model_validator(mode="after")
    def _what_is_frozen_was_trained(self) -> "Params":
        if self.encoder.frozen and self.encoder.model == SMALL:
            raise ValueError("encoder.frozen is for a pretrained encoder, and encoder.model is small: set it to false")
        if self.encoder.frozen and self.retriever.ranker == "dpr":
            raise ValueError("retriever.ranker dpr trains two encoders, and encoder.frozen keeps one as it is")
        return self

    @model_validator(mode="after")
    def _there_is_something_to_rehearse(self) -> "Params":
        check_rehearsal("methods", self.methods, self.keep.rows)
        check_rehearsal("comparison.first", self.comparison.first, "none")  # nothing is older than the first slice
        for name, entry in self.comparison.entries.items():
            check_rehearsal(f"comparison.entries.{name}", entry.methods, entry.keep.rows)
            if entry.joint and entry.keep.rows != "all":
                raise ValueError(
                    f"comparison.entries.{name}: it retrains the base on everything, and keep.rows is "
                    f"{entry.keep.rows}: give it `keep: {{rows: all}}`"
                )
        return self

    @model_validator(mode="after")
    def _batches_can_be_taken_so(self) -> "Params":
        check_batches("methods", self.methods, self.stage1.accumulate, self.stage1.activation_checkpointing)
        return self

    @model_validator(mode="after")
    def _slices_form_a_chain(self) -> "Params":
        before = BASE
        for name, item in self.timeline.items():
            if not is_slice_name(name):
                raise ValueError(f"'{name}' can't be a slice's name: use letters, digits, '.', '_' and '-'")
            if item.previous != before:
                raise ValueError(f"slice '{name}' must follow '{before}', not '{item.previous}'")
            before = name
        if self.pretrain.slice != (oldest := next(iter(self.timeline), None)):
            raise ValueError(f"pretrain.slice must be the oldest slice, {repr(oldest) if oldest else 'null'}")
        if unknown := self.reference.keys() - self.timeline.keys():
            raise ValueError(f"reference names slices that the timeline lacks: {', '.join(sorted(unknown))}")
        for name, item in self.reference.items():
            before = self.timeline[name].previous
            models = [f"{before}/lm", *([f"{before}/naive"] if before in self.reference else [])]
            if item.previous not in models:
                raise ValueError(f"reference of '{name}' must start from {' or '.join(models)}, not '{item.previous}'")
        return self


def is_slice_name(name: str) -> bool:
    """Whether folders may be called so: not by what is another folder, nor by what DVC and others pass over."""
    passed_over = is_litter(name) or name.endswith((".dvc", ".partial"))
    return bool(SLICE_NAME.fullmatch(name)) and name not in RESERVED and not passed_over


def load_params(path: Path = PARAMS, empty: bool = False) -> Params:
    """Read and check params.yaml.

    Args:
        path: the file.
        empty: whether the timeline may be.

    Raises:
        BadInput: the file is missing, no YAML, or a key is unknown, missing or out of range, or there is no slice yet.
    """
    if not path.exists():
        raise BadInput(f"There is no {path}. Run the command in the project's folder.")
    try:
        params = Params.model_validate(read_yaml(path))
    except ValidationError as error:
        raise BadInput(f"{path}: {mistake(error)}.") from error
    if not params.timeline and not empty:
        raise BadInput(f"{path}: the timeline is empty. `perennial add SLICE FOLDER` gives it its first slice.")
    return params
