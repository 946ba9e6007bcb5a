"""RecAdam: an annealed pull to the old weights, inside Adam (Chen et al. 2020, arXiv 2004.12651, eq. 8 to 10).

At first the weights are held where they were (recall), and ever more they follow the gradient (learn):
lambda(t) = 1 / (1 + exp(-k (t - t0))), and with the learning rate eta and Adam's update u

    theta <- theta - eta * (lambda(t) * u + (1 - lambda(t)) * gamma * (theta - theta*))

The pull does not go through Adam's moments, so that it is the same for every weight.
"""

from pathlib import Path
from typing import final

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.methods.method import Method
from tasks.lm.methods.weights import Weights, copied
from tasks.method_params import RecAdam as RecAdamSettings


@final
class RecAdam(Method):
    """Pulls by eta * (1 - lambda(t)) * gamma before each update, which then gets the rate eta * lambda(t).

    t is the share of the slice's steps that are done, so `k` and `t0` mean the same whatever their number.
    """

    def __init__(self, settings: RecAdamSettings, seed: int):
        self.settings = settings
        self.anchor: Weights = {}

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        if self.seen.knows:
            self.anchor = copied(model)
        return model

    @torch.no_grad()
    def before_update(self, model: PreTrainedModel, step: int, rate: float) -> float:
        if not self.anchor:
            return rate
        learn = annealed(step + 1, self.steps, self.settings)
        pull = min(1.0, rate * (1 - learn) * self.settings.gamma)  # beyond 1 it would overshoot, and diverge beyond 2
        for name, value in model.named_parameters():
            value.copy_(torch.lerp(value.float(), self.anchor[name], pull))
        return rate * learn


def annealed(done: int, steps: int, settings: RecAdamSettings) -> float:
    """lambda(t), the weight of learning against recalling, at step `done` of `steps`."""
    return float(torch.tensor(settings.k * (done / steps - settings.t0), dtype=torch.float64).sigmoid())
