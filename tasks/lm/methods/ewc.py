"""Online elastic weight consolidation (Kirkpatrick et al. 2017, eq. 3; the running Fisher of Schwarz et al. 2018)."""

from pathlib import Path
from typing import final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.batches import Batch, Mixture, Sequence, collate
from tasks.lm.causal import answer_logits
from tasks.lm.methods.method import Method
from tasks.method_params import EWC as EWCSettings

FISHER = "fisher.safetensors"


@final
class EWC(Method):
    """Adds strength/2 * sum_i F_i (theta_i - theta*_i)^2, theta* being the weights before this slice.

    The running Fisher is F = decay * F_before + F_slice. One tensor per parameter is kept, whatever the number
    of slices.
    """

    weights = "all"

    def __init__(self, settings: EWCSettings, seed: int):
        self.settings = settings
        self.seed = seed
        self.fisher: dict[str, Tensor] = {}
        self.anchor: dict[str, Tensor] = {}

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        path = previous / "method" / FISHER
        if path.exists():  # the base model has none: there is nothing to keep yet
            self.fisher = {name: value.to(model.device) for name, value in load_file(path).items()}
            self.anchor = {name: value.detach().clone() for name, value in model.named_parameters()}
        return model

    def penalty(self, model: PreTrainedModel, batch: Batch, logits: Tensor) -> Tensor | float:
        if not self.fisher:
            return 0.0
        pulls = [
            (self.fisher[name] * (value - self.anchor[name]) ** 2).sum() for name, value in model.named_parameters()
        ]
        return self.settings.strength / 2 * torch.stack(pulls).sum()

    def end(self, model: PreTrainedModel, data: Mixture, out: Path) -> PreTrainedModel:
        fresh = data.parts[0].sequences
        out.mkdir(exist_ok=True)
        if not fresh:  # the slice brought nothing to measure on: what is known of older ones stays
            if self.fisher:
                save_file({name: value.cpu() for name, value in self.fisher.items()}, out / FISHER)
            return model
        order = torch.randperm(len(fresh), generator=torch.Generator().manual_seed(self.seed)).tolist()
        fisher = fisher_diagonal(model, [fresh[index] for index in order[: self.settings.samples]])
        for name, before in self.fisher.items():
            fisher[name] += self.settings.decay * before
        save_file({name: value.cpu() for name, value in fisher.items()}, out / FISHER)
        return model


def fisher_diagonal(model: PreTrainedModel, sequences: list[Sequence]) -> dict[str, Tensor]:
    """Empirical Fisher, E[(d log p(y|x) / d theta)^2] with one gradient per example; shapes of the parameters.

    log p(y|x) is the sum over the answer's tokens (Kirkpatrick et al. 2017, eq. 3, diagonal).
    """
    fisher = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    for sequence in sequences:
        model.zero_grad()
        batch = collate([sequence], model.device)
        nn.functional.cross_entropy(answer_logits(model, batch), batch.labels, reduction="sum").backward()
        for name, value in model.named_parameters():
            if value.grad is not None:
                fisher[name] += value.grad**2 / len(sequences)
    model.zero_grad()
    return fisher
