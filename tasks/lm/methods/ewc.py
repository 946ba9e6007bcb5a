"""Online elastic weight consolidation (Kirkpatrick et al. 2017, eq. 3; online: Schwarz et al. 2018, arXiv 1805.06370).

Schwarz et al. keep one running sum, F* <- decay * F* + F_n, of Fishers that are normalised slice by slice, so that
every slice counts the same, however steep its loss is. Here F_n is divided by its mean over all weights, and the sum
by the sum of its coefficients, 1 + decay + decay^2 + ..., so that F* has mean 1 at every slice: `strength` means the
same at the second slice and at the fortieth, for a large model and a small one, and half of what it means for L2.
"""

from pathlib import Path
from typing import final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.batches import Batch, Mixture, Sequence, collate
from tasks.lm.logits import answer_logits, head_of
from tasks.lm.methods.method import Method
from tasks.lm.methods.weights import Weights, copied, name_of, of_each
from tasks.method_params import EWC as EWCSettings

FISHER = "fisher.safetensors"  # F*, by weight
TAKEN_AT = "ewc.safetensors"  # the head that it was taken at, and the sum of the coefficients
HEAD, COEFFICIENTS = "head", "coefficients"


@final
class EWC(Method):
    """Adds strength/2 * sum_i F*_i (theta_i - theta*_i)^2, theta* being the weights as stage 1 of the slice before left
    them: F_n was taken there.

    Stage 2 may refit the head after that, so the head is saved beside the Fisher; the backbone it leaves as it is. A
    model that knows something but brings no Fisher, because it was pretrained elsewhere or learnt by other methods,
    is held by F* = 1, which is L2; that counts as a slice. A slice without rows of its own, which others' replay may
    train all the same, moves theta* and leaves F* as it is. One number per weight and the head are kept, whatever the
    number of slices.
    """

    def __init__(self, settings: EWCSettings, seed: int):
        self.settings = settings
        self.seed = seed
        self.fisher: Weights = {}
        self.anchor: Weights = {}
        self.coefficients = 0.0

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        folder = previous / "method"
        if (folder / FISHER).exists():
            taken_at = load_file(folder / TAKEN_AT)
            self.fisher, self.anchor = of_each(load_file(folder / FISHER), model), copied(model)
            self.anchor[name_of(model, head_of(model).weight)] = taken_at[HEAD].to(model.device)
            self.coefficients = float(taken_at[COEFFICIENTS])
        elif self.seen.knows:
            self.anchor = copied(model)
            self.fisher = {name: torch.ones_like(value) for name, value in self.anchor.items()}
            self.coefficients = 1.0
        return model

    def penalty(self, model: PreTrainedModel, batch: Batch, logits: Tensor) -> Tensor | float:
        if not self.fisher:
            return 0.0
        # in float32: a bfloat16 sum of many small squares stops growing
        pulls = [
            (self.fisher[name] * (value.float() - self.anchor[name]).square()).sum()
            for name, value in model.named_parameters()
        ]
        return self.settings.strength / 2 * torch.stack(pulls).sum()

    def end(self, model: PreTrainedModel, data: Mixture, out: Path) -> PreTrainedModel:
        fresh = data.parts[0].sequences
        if fresh:
            order = torch.randperm(len(fresh), generator=torch.Generator().manual_seed(self.seed)).tolist()
            self.add(fisher_diagonal(model, [fresh[index] for index in order[: self.settings.samples]]))
        out.mkdir(exist_ok=True)
        if self.fisher:
            head = head_of(model).weight.detach().to("cpu", torch.float32, copy=True)
            coefficients = torch.tensor(self.coefficients, dtype=torch.float64)
            save_file({name: value.cpu() for name, value in self.fisher.items()}, out / FISHER)
            save_file({HEAD: head, COEFFICIENTS: coefficients}, out / TAKEN_AT)
        return model

    def add(self, fisher: Weights) -> None:
        """Take a slice's Fisher into the running one."""
        before = self.settings.decay * self.coefficients
        fisher = normalised(fisher)
        old = self.fisher or {name: torch.zeros_like(value) for name, value in fisher.items()}
        self.fisher = {name: (before * old[name] + value) / (before + 1) for name, value in fisher.items()}
        self.coefficients = before + 1


def fisher_diagonal(model: PreTrainedModel, sequences: list[Sequence]) -> Weights:
    """Empirical Fisher, E[(d log p(y|x) / d theta)^2] with one gradient per example; shapes of the parameters.

    log p(y|x) is the sum over the answer's tokens (Kirkpatrick et al. 2017, eq. 3, diagonal).
    """
    fisher = {name: torch.zeros_like(value, dtype=torch.float32) for name, value in model.named_parameters()}
    for sequence in sequences:
        model.zero_grad()
        batch = collate([sequence], model.device)
        nn.functional.cross_entropy(answer_logits(model, batch), batch.labels, reduction="sum").backward()
        for name, value in model.named_parameters():
            if value.grad is not None:
                fisher[name] += value.grad.float() ** 2 / len(sequences)
    model.zero_grad()
    return fisher


def normalised(fisher: Weights) -> Weights:
    """Divided by the mean over all weights; where it is zero throughout, every weight counts the same."""
    mean = sum(value.sum(dtype=torch.float64) for value in fisher.values()) / sum(map(torch.numel, fisher.values()))
    return {name: (value / mean).float() if mean > 0 else torch.ones_like(value) for name, value in fisher.items()}
