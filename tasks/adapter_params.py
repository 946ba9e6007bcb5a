"""The settings of the methods that train modules of their own; params.yaml has them beside the others."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.method_kinds import MethodSettings
from tasks.sections import Positive, Rate


class Adapter(MethodSettings):
    """The model's own weights are frozen."""

    family = "parameter expansion"
    weights = "adapter"


class LoRA(Adapter):
    """Low-rank adapters that are merged after the slice: see tasks/lm/methods/lora.py.

    target_modules: names of layers, or all-linear; without, those that peft adapts in such a model. initial: of A.
    learning_rate_factor: adapters want a higher rate than all weights together. keep: `apart` merges as well, but
    saves the slice's change in the folder `method`, so that it can be taken out again. base: what the frozen blocks are
    while the adapters are trained; the change is added to the float32 weights in any case.
    """

    name: Literal["lora"]
    rank: Positive = 16
    alpha: Positive = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: tuple[str, ...] | Literal["all-linear"] | None = None
    rslora: bool = False
    dora: bool = False
    initial: Literal["gaussian", "default"] = "default"
    train_head: bool = False
    learning_rate_factor: Rate = 1.0
    keep: Literal["merged", "apart"] = "merged"
    base: Literal["float32", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _magnitudes_are_of_the_weights_themselves(self) -> "LoRA":
        if self.base == "bfloat16" and self.dora:
            raise ValueError("dora learns the magnitudes of the weights themselves: it needs base: float32")
        return self

    @model_validator(mode="after")
    def _what_is_apart_is_low_rank(self) -> "LoRA":
        if self.keep == "apart" and (self.dora or self.train_head):
            raise ValueError("lora with dora or train_head changes more than A and B: it can't be kept apart")
        return self


class OLoRA(Adapter):
    """Low-rank adapters, orthogonal to those of earlier slices: see tasks/lm/methods/o_lora.py."""

    name: Literal["o_lora"]
    rank: Positive = 8
    alpha: Positive = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: tuple[str, ...] | Literal["all-linear"] | None = None
    strength: Rate = 0.5
    learning_rate_factor: Rate = 1.0


class PromptTuning(Adapter):
    """Virtual tokens before the text, of which the embeddings are trained: see tasks/lm/methods/prompts.py."""

    name: Literal["prompt_tuning"]
    virtual_tokens: Positive = 16
    learning_rate_factor: Rate = 1.0


class PrefixTuning(Adapter):
    """Virtual tokens, of which the keys and values are trained: see tasks/lm/methods/prompts.py."""

    computed_once = True
    name: Literal["prefix_tuning"]
    virtual_tokens: Positive = 16
    learning_rate_factor: Rate = 1.0


class Bottleneck(Adapter):
    """A small residual network after each block: see tasks/lm/methods/bottleneck.py."""

    name: Literal["bottleneck"]
    width: Positive = 32
    learning_rate_factor: Rate = 1.0


class KAdapter(Adapter):
    """An adapter beside the frozen model: see tasks/lm/methods/k_adapter.py.

    layers: the blocks, from 0, whose hidden states it takes; without, the bottom, the middle and the top one.
    per_slice: each slice adds one, and the earlier ones are frozen.
    """

    name: Literal["k_adapter"]
    width: Positive = 32
    layers: tuple[Annotated[int, Field(ge=0)], ...] = ()
    per_slice: bool = True
    learning_rate_factor: Rate = 1.0
