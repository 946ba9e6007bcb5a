"""Bottleneck adapters: the model is frozen, and a small residual network after each block is trained.

Houlsby et al. 2019 (arXiv 1902.00751, section 2.1). They are trained on from slice to slice.
"""

from pathlib import Path
from typing import final

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.adapters import adapter_of, resume_or_attach
from tasks.lm.batches import Mixture
from tasks.lm.methods.method import Method
from tasks.method_params import Bottleneck as BottleneckSettings


@final
class Bottleneck(Method):
    """Trains the adapters alone."""

    def __init__(self, settings: BottleneckSettings, seed: int):
        self.settings = settings
        self.seed = seed

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        model = resume_or_attach(model, {"kind": "bottleneck", "width": self.settings.width}, self.seed)
        model.requires_grad_(False)
        adapter_of(model).requires_grad_(True)
        return model

    def before_update(self, model: PreTrainedModel, step: int, rate: float) -> float:
        return rate * self.settings.learning_rate_factor

    def end(self, model: PreTrainedModel, data: Mixture, out: Path) -> PreTrainedModel:
        return model.requires_grad_(True)
