"""An exponential moving average of the weights is the slice's model (Polyak and Juditsky 1992; Tarvainen et al. 2017).

It lies flatter than the last weights and closer to the ones before. It costs a float32 copy of the weights: next to
a decay of 0.999, a change is too small for bfloat16 to add.
"""

from pathlib import Path
from typing import final

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.batches import Mixture
from tasks.lm.methods.method import Method
from tasks.lm.methods.weights import Weights, copied
from tasks.method_params import EMA as EMASettings


@final
class EMA(Method):
    """Keeps theta' <- d theta' + (1 - d) theta, where d = min(decay, (1 + t) / (10 + t)) at step t = 0, 1, ..."""

    def __init__(self, settings: EMASettings, seed: int):
        self.decay = settings.decay
        self.average: Weights = {}

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        self.average = copied(model)
        return model

    def state(self) -> dict[str, Tensor]:
        return self.average

    def after_update(self, model: PreTrainedModel, step: int) -> None:
        move(self.average, model, min(self.decay, (1 + step) / (10 + step)))

    def end(self, model: PreTrainedModel, data: Mixture, out: Path) -> PreTrainedModel:
        put_back(self.average, model)
        return model


@torch.no_grad()
def move(average: Weights, model: PreTrainedModel, decay: float) -> None:
    """One step of the average, in place: of the old one `decay` is left."""
    for name, value in model.named_parameters():
        average[name].lerp_(value.float(), 1 - decay)


@torch.no_grad()
def put_back(average: Weights, model: PreTrainedModel) -> None:
    """Give the model the average's weights, in the model's own type."""
    for name, value in model.named_parameters():
        value.copy_(average[name])
