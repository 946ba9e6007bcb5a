"""CLS-ER: replay with a fast and a slow memory of the weights (Arani et al. 2022, arXiv 2201.12604, algorithm 1).

The plastic model is a moving average of the weights that is often updated, the stable one a slower one that is
rarely updated. On replayed rows the model is drawn to the logits of whichever of the two knows the answer better.
"""

from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.batches import Batch, Mixture, rows_of
from tasks.lm.logits import answer_logits
from tasks.lm.methods.ema import move, put_back
from tasks.lm.methods.method import Method
from tasks.lm.methods.weights import Weights, copied
from tasks.method_params import ClsEr as ClsErSettings


@final
class ClsEr(Method):
    """Adds weight * mean((z - z')^2) over replayed places and vocabulary; keeps the stable model.

    z' are, place by place, the logits of the average that gives the true token the higher probability. At step t a
    model is updated with probability `rate`, by d = min(decay, 1 - 1 / (t + 1)). Each slice starts both averages at the
    stable model of the slice before, whose steps count on: d is then decay. Without replay beside it, it is an
    average of the weights.
    """

    def __init__(self, settings: ClsErSettings, seed: int):
        self.settings = settings
        self.seed = seed
        self.stable: Weights = {}
        self.plastic: Weights = {}

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        self.stable, self.plastic = copied(model), copied(model)
        return model

    def state(self) -> dict[str, Tensor]:
        kept = {"stable": self.stable, "plastic": self.plastic}
        return {f"{which}.{name}": value for which, average in kept.items() for name, value in average.items()}

    def penalty(self, model: PreTrainedModel, batch: Batch, logits: Tensor) -> Tensor | float:
        if not (batch.parts > 0).any():
            return 0.0
        old = rows_of(batch, batch.parts > 0)
        stable, plastic = (logits_by(average, model, old) for average in (self.stable, self.plastic))
        target = torch.where(known(stable, old.labels) > known(plastic, old.labels), stable, plastic)
        return self.settings.weight * nn.functional.mse_loss(logits[batch.sources > 0], target)

    def after_update(self, model: PreTrainedModel, step: int) -> None:
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + step)  # so that a resumed run draws the same
        stable, plastic = torch.rand(2, generator=random).tolist()
        warm = 1.0 if self.seen.knows else 1 - 1 / (step + 1)  # or the first steps would overwrite what was averaged
        if stable < self.settings.stable_rate:
            move(self.stable, model, min(self.settings.stable_decay, warm))
        if plastic < self.settings.plastic_rate:
            move(self.plastic, model, min(self.settings.plastic_decay, warm))

    def end(self, model: PreTrainedModel, data: Mixture, out: Path) -> PreTrainedModel:
        put_back(self.stable, model)
        return model


def known(logits: Tensor, labels: Tensor) -> Tensor:
    """The log-probability of each place's true token, [places, 1]."""
    return logits.log_softmax(-1).gather(1, labels[:, None])


@torch.no_grad()
def logits_by(average: Weights, model: PreTrainedModel, batch: Batch) -> Tensor:
    """The answer's logits under an average's weights, [places, vocabulary], without dropout."""
    training = model.training
    model.eval()
    weights = {f"model.{name}": average[name].to(value.dtype) for name, value in model.named_parameters()}
    logits = functional_call(_Answers(model), weights, (batch,))
    model.train(training)
    return logits


class _Answers(nn.Module):
    """`answer_logits` as a module, since only a module's weights can be exchanged for one call."""

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Tensor:
        return answer_logits(self.model, batch)
