"""The settings of every method, as they stand in params.yaml; tasks/lm/methods/ has a file for each."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.sections import Positive, Rate, Section, Share


class Joint(Section):
    """Training on everything: see tasks/lm/methods/joint.py."""

    name: Literal["joint"]


class Replay(Section):
    """Experience replay: see tasks/lm/methods/replay.py."""

    name: Literal["replay"]
    share: Annotated[float, Field(gt=0, lt=1)]


class EWC(Section):
    """Online elastic weight consolidation: see tasks/lm/methods/ewc.py."""

    name: Literal["ewc"]
    strength: Rate
    decay: Share = 0.9
    samples: Positive = 256


class FrozenBackbone(Section):
    """Only the LM head learns after the first slices (SEQ*): see tasks/lm/methods/freezing.py."""

    name: Literal["frozen_backbone"]
    warm_slices: Annotated[int, Field(ge=0)] = 1


class FrozenBottom(Section):
    """Embeddings and the bottom blocks are frozen after the first slices: see tasks/lm/methods/freezing.py."""

    name: Literal["frozen_bottom"]
    layers: Annotated[int, Field(ge=0)] = 2
    warm_slices: Annotated[int, Field(ge=0)] = 1


class L2(Section):
    """L2 to the weights of the slice before: see tasks/lm/methods/l2.py."""

    name: Literal["l2"]
    strength: Rate = 0.01


class RecAdam(Section):
    """An annealed pull to the old weights inside Adam: see tasks/lm/methods/recadam.py.

    gamma times the learning rate is the share of the way back that a step takes at first. k and t0 count the slice's
    steps as 1: with k = 20 and t0 = 0.2 it learns at half the rate after a fifth of them.
    """

    name: Literal["recadam"]
    gamma: Rate = 100.0
    k: Rate = 20.0
    t0: Share = 0.2


class Rewarming(Section):
    """A peak of the learning rate that falls from slice to slice: see tasks/lm/methods/rewarming.py."""

    name: Literal["rewarming"]
    decay: Annotated[float, Field(gt=0, le=1)] = 0.8
    floor: Share = 0.1


class EMA(Section):
    """A moving average of the weights is kept: see tasks/lm/methods/ema.py."""

    name: Literal["ema"]
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99


class ClsEr(Section):
    """Replay with a fast and a slow average of the weights: see tasks/lm/methods/cls_er.py.

    The paper's decays, 0.999, are for tens of thousands of steps: after a few hundred the slow average would hardly
    have moved.
    """

    name: Literal["cls_er"]
    weight: Rate = 1.0
    stable_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    stable_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    plastic_decay: Annotated[float, Field(ge=0, lt=1)] = 0.95
    plastic_rate: Annotated[float, Field(gt=0, le=1)] = 0.9

    @model_validator(mode="after")
    def _plastic_is_faster(self) -> "ClsEr":
        if self.plastic_decay > self.stable_decay or self.plastic_rate < self.stable_rate:
            raise ValueError("cls_er's plastic model must not be slower than its stable one: lower its decay")
        return self


class Merging(Section):
    """Merges the weights before and after a slice: see tasks/lm/methods/merging.py.

    density: the share of values that ties and dare keep. held_out: the share of rows that choose the coefficient.
    """

    name: Literal["merging"]
    how: Literal["linear", "task_vectors", "ties", "dare"] = "linear"
    density: Annotated[float, Field(gt=0, lt=1)] = 0.5
    coefficients: Annotated[tuple[Rate, ...], Field(min_length=1)] = (0.25, 0.5, 0.75, 1.0)
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.05
    earlier: bool = False

    @model_validator(mode="after")
    def _a_line_has_two_ends(self) -> "Merging":
        if self.how == "linear" and self.earlier:
            raise ValueError("merging with how: linear takes no earlier slices: choose how: task_vectors")
        return self


class Generative(Section):
    """Deep generative replay: see tasks/lm/methods/generative.py.

    rows: how many the model is asked for. share: of each batch. lm_share: of its questions, predicted from the
    first token on. verify: a generated answer must be the one that the model gives to the generated question.
    prompts_only: that answer is taken, whatever was generated. begun: the share of the texts that go on from the first
    words of one of the slice's own questions; the others begin with nothing.
    """

    name: Literal["generative"]
    rows: Positive = 2000
    share: Annotated[float, Field(gt=0, lt=1)] = 0.4
    lm_share: Annotated[float, Field(gt=0, le=0.5)] = 0.3
    top_k: Positive = 20
    temperature: Rate = 1.0
    max_new_tokens: Positive = 64
    verify: bool = True
    prompts_only: bool = False
    begun: Share = 0.8


class LoRA(Section):
    """Low-rank adapters that are merged after the slice: see tasks/lm/methods/lora.py.

    target_modules: names of layers, or all-linear; without, those that peft adapts in such a model. initial: of A.
    learning_rate_factor: adapters want a higher rate than all weights together. keep: `apart` merges as well, but
    saves the slice's change in the folder `method`, so that it can be taken out again.
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

    @model_validator(mode="after")
    def _what_is_apart_is_low_rank(self) -> "LoRA":
        if self.keep == "apart" and (self.dora or self.train_head):
            raise ValueError("lora with dora or train_head changes more than A and B: it can't be kept apart")
        return self


class OLoRA(Section):
    """Low-rank adapters, orthogonal to those of earlier slices: see tasks/lm/methods/o_lora.py."""

    name: Literal["o_lora"]
    rank: Positive = 8
    alpha: Positive = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: tuple[str, ...] | Literal["all-linear"] | None = None
    strength: Rate = 0.5
    learning_rate_factor: Rate = 1.0


class PromptTuning(Section):
    """Virtual tokens before the text, of which the embeddings are trained: see tasks/lm/methods/prompts.py."""

    name: Literal["prompt_tuning"]
    virtual_tokens: Positive = 16
    learning_rate_factor: Rate = 1.0


class PrefixTuning(Section):
    """Virtual tokens, of which the keys and values are trained: see tasks/lm/methods/prompts.py."""

    name: Literal["prefix_tuning"]
    virtual_tokens: Positive = 16
    learning_rate_factor: Rate = 1.0


class Bottleneck(Section):
    """A small residual network after each block: see tasks/lm/methods/bottleneck.py."""

    name: Literal["bottleneck"]
    width: Positive = 32
    learning_rate_factor: Rate = 1.0


class KAdapter(Section):
    """An adapter beside the frozen model: see tasks/lm/methods/k_adapter.py.

    layers: the blocks, from 0, whose hidden states it takes; without, the bottom, the middle and the top one.
    per_slice: each slice adds one, and the earlier ones are frozen.
    """

    name: Literal["k_adapter"]
    width: Positive = 32
    layers: tuple[Annotated[int, Field(ge=0)], ...] = ()
    per_slice: bool = True
    learning_rate_factor: Rate = 1.0


class MixReview(Section):
    """Old data mixed in, ever less of it: see tasks/lm/methods/mix_review.py."""

    name: Literal["mix_review"]
    share: Annotated[float, Field(gt=0, lt=1)] = 0.6
    decay: Annotated[float, Field(gt=0, le=1)] = 0.7


class Forgotten(Section):
    """Replay of what is being forgotten: see tasks/lm/methods/forgotten.py.

    share: of each batch. candidates: older rows that are scored. rows: of these, how many of the worst are replayed.
    uniform: the part of the share that all older rows have.
    """

    name: Literal["forgotten"]
    share: Annotated[float, Field(gt=0, lt=1)] = 0.4
    candidates: Positive = 2000
    rows: Positive = 500
    uniform: Share = 0.5


class Reptile(Section):
    """Reptile over older slices, before the new one: see tasks/lm/methods/reptile.py."""

    name: Literal["reptile"]
    outer_steps: Positive = 10
    inner_steps: Positive = 5
    inner_rate: Rate = 0.02
    step_size: Annotated[float, Field(gt=0, le=1)] = 0.2
    batch_rows: Positive = 16


class SparseMemory(Section):
    """Only the MLP slots most specific to a slice are trained: see tasks/lm/methods/sparse_memory.py.

    slots: the share of each layer's that are trained. accessed: the share that counts as accessed by a token.
    samples: rows of a slice by which access is measured. head, embeddings: train these, too, as a whole.
    """

    name: Literal["sparse_memory"]
    slots: Annotated[float, Field(gt=0, le=1)] = 0.2
    accessed: Annotated[float, Field(gt=0, lt=1)] = 0.05
    samples: Positive = 512
    head: bool = False
    embeddings: bool = False


class Distillation(Section):
    """Distillation from the model before the slice: see tasks/lm/methods/distillation.py.

    rows: those concerned; fresh ones are the slice's own. correct_only: only where the teacher's likeliest token is
    the true one.
    """

    name: Literal["distillation"]
    weight: Rate = 1.0
    temperature: Rate = 2.0
    rows: Literal["replayed", "fresh", "all"] = "replayed"
    correct_only: bool = False


class DER(Section):
    """DER++: see tasks/lm/methods/der.py.

    rows: how many the buffer holds. share: of each batch. alpha: of the square error of the buffer's logits.
    """

    name: Literal["der"]
    rows: Positive = 500
    share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    alpha: Rate = 0.5


class FGM(Section):
    """Adversarial training by one step: see tasks/lm/methods/adversarial.py.

    epsilon: the perturbation's L2 norm over all of a row's token embeddings. weight: of the adversarial loss.
    """

    name: Literal["fgm"]
    epsilon: Rate = 0.5
    weight: Rate = 1.0


class PGD(Section):
    """Adversarial training by projected steps: see tasks/lm/methods/adversarial.py.

    epsilon: the radius of the ball, as in FGM. step_size: a step's L2 norm.
    """

    name: Literal["pgd"]
    epsilon: Rate = 0.5
    weight: Rate = 1.0
    steps: Positive = 3
    step_size: Rate = 0.25


class FreeLB(Section):
    """Adversarial training on every point of the ascent: see tasks/lm/methods/adversarial.py; settings as PGD's."""

    name: Literal["freelb"]
    epsilon: Rate = 0.5
    weight: Rate = 1.0
    steps: Positive = 3
    step_size: Rate = 0.25


AnyMethod = Annotated[
    Joint
    | FrozenBackbone
    | FrozenBottom
    | L2
    | EWC
    | RecAdam
    | LoRA
    | OLoRA
    | KAdapter
    | PrefixTuning
    | PromptTuning
    | Bottleneck
    | Replay
    | Forgotten
    | MixReview
    | Generative
    | Distillation
    | DER
    | EMA
    | ClsEr
    | Merging
    | Rewarming
    | FGM
    | PGD
    | FreeLB
    | Reptile
    | SparseMemory,
    Field(discriminator="name"),
]
