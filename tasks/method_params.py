"""The settings of every method, as they stand in params.yaml; tasks/lm/methods/ has a file for each."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from tasks.adapter_params import Bottleneck, KAdapter, LoRA, OLoRA, PrefixTuning, PromptTuning
from tasks.method_kinds import MethodSettings
from tasks.sections import Positive, Rate, Share


class Joint(MethodSettings):
    """Training on everything: see tasks/lm/methods/joint.py."""

    family = "baselines"
    needs_older = True
    replays = True
    name: Literal["joint"]


class Replay(MethodSettings):
    """Experience replay: see tasks/lm/methods/replay.py."""

    family = "rehearsal"
    needs_older = True
    replays = True
    name: Literal["replay"]
    share: Annotated[float, Field(gt=0, lt=1)]


class EWC(MethodSettings):
    """Online elastic weight consolidation: see tasks/lm/methods/ewc.py."""

    family = "regularisation"
    weights = "all"
    measures_end = True
    name: Literal["ewc"]
    strength: Rate
    decay: Share = 0.9
    samples: Positive = 256


class FrozenBackbone(MethodSettings):
    """Only the LM head learns after the first slices (SEQ*): see tasks/lm/methods/freezing.py."""

    family = "baselines"
    weights = "subset"
    name: Literal["frozen_backbone"]
    warm_slices: Annotated[int, Field(ge=0)] = 1


class FrozenBottom(MethodSettings):
    """Embeddings and the bottom blocks are frozen after the first slices: see tasks/lm/methods/freezing.py."""

    family = "baselines"
    weights = "subset"
    name: Literal["frozen_bottom"]
    layers: Annotated[int, Field(ge=0)] = 2
    warm_slices: Annotated[int, Field(ge=0)] = 1


class L2(MethodSettings):
    """L2 to the weights of the slice before: see tasks/lm/methods/l2.py."""

    family = "regularisation"
    weights = "all"
    name: Literal["l2"]
    strength: Rate = 0.01


class RecAdam(MethodSettings):
    """An annealed pull to the old weights inside Adam: see tasks/lm/methods/recadam.py.

    gamma times the learning rate is the share of the way back that a step takes at first. k and t0 count the slice's
    steps as 1: with k = 20 and t0 = 0.2 it learns at half the rate after a fifth of them.
    """

    family = "regularisation"
    weights = "all"
    name: Literal["recadam"]
    gamma: Rate = 100.0
    k: Rate = 20.0
    t0: Share = 0.2


class Rewarming(MethodSettings):
    """A peak of the learning rate that falls from slice to slice: see tasks/lm/methods/rewarming.py."""

    family = "schedule"
    name: Literal["rewarming"]
    decay: Annotated[float, Field(gt=0, le=1)] = 0.8
    floor: Share = 0.1


class EMA(MethodSettings):
    """A moving average of the weights is kept: see tasks/lm/methods/ema.py."""

    family = "weight space"
    weights = "all"
    replaces_end = True
    name: Literal["ema"]
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99


class ClsEr(MethodSettings):
    """Replay with a fast and a slow average of the weights: see tasks/lm/methods/cls_er.py.

    The paper's decays, 0.999, are for tens of thousands of steps: after a few hundred the slow average would hardly
    have moved.
    """

    family = "weight space"
    weights = "all"
    replaces_end = True
    whole_batches = True
    name: Literal["cls_er"]
    weight: Rate = 1.0
    stable_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    stable_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    plastic_decay: Annotated[float, Field(ge=0, lt=1)] = 0.95
    plastic_rate: Annotated[float, Field(gt=0, le=1)] = 0.9

    @property
    def needs_replay(self) -> bool:
        return True

    @model_validator(mode="after")
    def _plastic_is_faster(self) -> "ClsEr":
        if self.plastic_decay > self.stable_decay or self.plastic_rate < self.stable_rate:
            raise ValueError("cls_er's plastic model must not be slower than its stable one: lower its decay")
        return self


class Merging(MethodSettings):
    """Merges the weights before and after a slice: see tasks/lm/methods/merging.py.

    density: the share of values that ties and dare keep. coefficients: of which held-out rows, old and new, choose
    one. held_out: their share of the rows. alone: the coefficient where there are no old rows to choose by.
    """

    family = "weight space"
    weights = "all"
    replaces_end = True
    name: Literal["merging"]
    how: Literal["linear", "task_vectors", "ties", "dare"] = "linear"
    density: Annotated[float, Field(gt=0, lt=1)] = 0.5
    coefficients: Annotated[tuple[Rate, ...], Field(min_length=1)] = (0.25, 0.5, 0.75, 1.0)
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.05
    alone: Annotated[float, Field(gt=0, le=1)] = 0.5
    earlier: bool = False

    @model_validator(mode="after")
    def _a_line_has_two_ends(self) -> "Merging":
        if self.how == "linear" and self.earlier:
            raise ValueError("merging with how: linear takes no earlier slices: choose how: task_vectors")
        return self


class Generative(MethodSettings):
    """Deep generative replay: see tasks/lm/methods/generative.py.

    rows: how many the model is asked for. share: of each batch. lm_share: of its questions, predicted from the
    first token on. verify: a generated answer must be the one that the model gives to the generated question.
    prompts_only: that answer is taken, whatever was generated. begun: the share of the texts that go on from the first
    words of one of the slice's own questions; the others begin with nothing.
    """

    family = "rehearsal"
    replays = True
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


class MixReview(MethodSettings):
    """Old data mixed in, ever less of it: see tasks/lm/methods/mix_review.py."""

    family = "rehearsal"
    needs_older = True
    replays = True
    name: Literal["mix_review"]
    share: Annotated[float, Field(gt=0, lt=1)] = 0.6
    decay: Annotated[float, Field(gt=0, le=1)] = 0.7


class Forgotten(MethodSettings):
    """Replay of what is being forgotten: see tasks/lm/methods/forgotten.py.

    share: of each batch. candidates: older rows that are scored. rows: of these, how many of the worst are replayed.
    uniform: the part of the share that all older rows have.
    """

    family = "rehearsal"
    needs_older = True
    replays = True
    name: Literal["forgotten"]
    share: Annotated[float, Field(gt=0, lt=1)] = 0.4
    candidates: Positive = 2000
    rows: Positive = 500
    uniform: Share = 0.5


class Reptile(MethodSettings):
    """Reptile over older slices, before the new one: see tasks/lm/methods/reptile.py."""

    family = "meta-learning"
    needs_older = True
    name: Literal["reptile"]
    outer_steps: Positive = 10
    inner_steps: Positive = 5
    inner_rate: Rate = 0.02
    step_size: Annotated[float, Field(gt=0, le=1)] = 0.2
    batch_rows: Positive = 16


class SparseMemory(MethodSettings):
    """Only the MLP slots most specific to a slice are trained: see tasks/lm/methods/sparse_memory.py.

    slots: the share of each layer's that are trained. accessed: the share that counts as accessed by a token.
    samples: rows of a slice by which access is measured. head, embeddings: train these, too, as a whole.
    """

    family = "sparse memory"
    weights = "subset"
    measures_end = True
    name: Literal["sparse_memory"]
    slots: Annotated[float, Field(gt=0, le=1)] = 0.2
    accessed: Annotated[float, Field(gt=0, lt=1)] = 0.05
    samples: Positive = 512
    head: bool = False
    embeddings: bool = False


class Distillation(MethodSettings):
    """Distillation from the model before the slice: see tasks/lm/methods/distillation.py.

    rows: those concerned; fresh ones are the slice's own. correct_only: only where the teacher's likeliest token is
    the true one.
    """

    family = "distillation"
    name: Literal["distillation"]
    weight: Rate = 1.0
    temperature: Rate = 2.0
    rows: Literal["replayed", "fresh", "all"] = "replayed"
    correct_only: bool = False

    @property
    def needs_replay(self) -> bool:
        return self.rows == "replayed"


class DER(MethodSettings):
    """DER++: see tasks/lm/methods/der.py.

    rows: how many the buffer holds. share: of each batch. alpha: of the square error of the buffer's logits.
    """

    family = "distillation"
    needs_older = True
    replays = True
    measures_end = True
    whole_batches = True
    name: Literal["der"]
    rows: Positive = 500
    share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    alpha: Rate = 0.5


class FGM(MethodSettings):
    """Adversarial training by one step: see tasks/lm/methods/adversarial.py.

    epsilon: the perturbation's L2 norm over all of a row's token embeddings. weight: of the adversarial loss.
    """

    family = "robustness"
    name: Literal["fgm"]
    epsilon: Rate = 0.5
    weight: Rate = 1.0


class PGD(MethodSettings):
    """Adversarial training by projected steps: see tasks/lm/methods/adversarial.py.

    epsilon: the radius of the ball, as in FGM. step_size: a step's L2 norm.
    """

    family = "robustness"
    name: Literal["pgd"]
    epsilon: Rate = 0.5
    weight: Rate = 1.0
    steps: Positive = 3
    step_size: Rate = 0.25


class FreeLB(MethodSettings):
    """Adversarial training on every point of the ascent: see tasks/lm/methods/adversarial.py; settings as PGD's."""

    family = "robustness"
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

SETTINGS: dict[str, type[MethodSettings]] = {
    get_args(settings.model_fields["name"].annotation)[0]: settings for settings in get_args(get_args(AnyMethod)[0])
}
