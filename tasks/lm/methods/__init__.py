"""How forgetting is fought while training: one method per file, composed as a list in params.yaml."""

from pathlib import Path
from typing import Any

from tasks.lm.methods.adversarial import FGM, PGD, FreeLB
from tasks.lm.methods.bottleneck import Bottleneck
from tasks.lm.methods.cls_er import ClsEr
from tasks.lm.methods.der import DER
from tasks.lm.methods.distillation import Distillation
from tasks.lm.methods.ema import EMA
from tasks.lm.methods.ewc import EWC
from tasks.lm.methods.forgotten import Forgotten
from tasks.lm.methods.freezing import FrozenBackbone, FrozenBottom
from tasks.lm.methods.generative import Generative
from tasks.lm.methods.joint import Joint
from tasks.lm.methods.k_adapter import KAdapter
from tasks.lm.methods.l2 import L2
from tasks.lm.methods.lora import LoRA
from tasks.lm.methods.merging import Merging
from tasks.lm.methods.method import Method
from tasks.lm.methods.mix_review import MixReview
from tasks.lm.methods.o_lora import OLoRA
from tasks.lm.methods.prompts import PrefixTuning, PromptTuning
from tasks.lm.methods.recadam import RecAdam
from tasks.lm.methods.replay import Replay
from tasks.lm.methods.reptile import Reptile
from tasks.lm.methods.rewarming import Rewarming
from tasks.lm.methods.seen import seen_in
from tasks.lm.methods.sparse_memory import SparseMemory
from tasks.params import Methods

METHODS: dict[str, type[Any]] = {  # Methods, each made of its settings and a seed
    "joint": Joint,
    "frozen_backbone": FrozenBackbone,
    "frozen_bottom": FrozenBottom,
    "l2": L2,
    "ewc": EWC,
    "recadam": RecAdam,
    "lora": LoRA,
    "o_lora": OLoRA,
    "k_adapter": KAdapter,
    "prefix_tuning": PrefixTuning,
    "prompt_tuning": PromptTuning,
    "bottleneck": Bottleneck,
    "replay": Replay,
    "forgotten": Forgotten,
    "mix_review": MixReview,
    "generative": Generative,
    "distillation": Distillation,
    "der": DER,
    "ema": EMA,
    "cls_er": ClsEr,
    "merging": Merging,
    "rewarming": Rewarming,
    "fgm": FGM,
    "pgd": PGD,
    "freelb": FreeLB,
    "reptile": Reptile,
    "sparse_memory": SparseMemory,
}


def build_methods(settings: Methods, seed: int, steps: int, previous: Path) -> list[Method]:
    """The chosen methods, in order, for a slice of so many steps after the model in `previous`; none is naive."""
    chosen: list[Method] = []
    for each in settings:
        method = METHODS[each.name](each, seed)
        method.steps = steps
        method.seen = seen_in(previous, each.name, learns=steps > 0)
        chosen.append(method)
    return chosen
