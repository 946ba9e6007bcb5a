"""L2 to the weights of the slice before: EWC (Kirkpatrick et al. 2017, eq. 3), but every weight matters the same."""

from pathlib import Path
from typing import final

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.batches import Batch
from tasks.lm.methods.method import Method
from tasks.lm.methods.weights import Weights, copied
from tasks.method_params import L2 as L2Settings


@final
class L2(Method):
    """Adds strength * sum_i (theta_i - theta*_i)^2, theta* being the weights before this slice."""

    def __init__(self, settings: L2Settings, seed: int):
        self.settings = settings
        self.anchor: Weights = {}

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        if self.seen.knows:
            self.anchor = copied(model)
        return model

    def penalty(self, model: PreTrainedModel, batch: Batch, logits: Tensor) -> Tensor | float:
        if not self.anchor:
            return 0.0
        # in float32: a bfloat16 sum of many small squares stops growing
        pulls = [(value.float() - self.anchor[name]).square().sum() for name, value in model.named_parameters()]
        return self.settings.strength * torch.stack(pulls).sum()
