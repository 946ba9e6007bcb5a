"""Reptile over older slices, before the new one (Nichol et al. 2018, arXiv 1803.02999, algorithm 1).

Each slice is a task: from the weights theta, a few SGD steps on one task lead to phi, and

    theta <- theta + epsilon * (phi - theta)

so that the weights come to lie where every older slice is a few steps away.
"""

from collections import defaultdict
from pathlib import Path
from typing import final

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.corpus.slices import slice_of
from tasks.lm.batches import Batch, collate, encode
from tasks.lm.causal import limit_of
from tasks.lm.logits import answer_logits
from tasks.lm.methods.method import Method, Row, Shares
from tasks.method_params import Reptile as ReptileSettings


@final
class Reptile(Method):
    """Takes `outer_steps` steps of Reptile over the slices of the older rows; without older rows, none."""

    def __init__(self, settings: ReptileSettings, seed: int):
        self.settings = settings
        self.seed = seed

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        self.model, self.tokenizer = model, tokenizer
        return model

    def examples(self, shares: Shares, older: list[Row]) -> Shares:
        tasks: defaultdict[str, list[Row]] = defaultdict(list)
        for row in older:
            tasks[slice_of(row)].append(row)
        if tasks:
            self.model.eval()  # dropout would draw from the training's randomness
            random = torch.Generator().manual_seed(self.seed)
            for _ in range(self.settings.outer_steps):
                task = sorted(tasks)[int(torch.randint(len(tasks), (), generator=random))]
                outer_step(self.model, self._drawn(tasks[task], random), self.settings)
        return shares

    def _drawn(self, rows: list[Row], random: torch.Generator) -> list[Batch]:
        """A batch for every inner step, of rows of one task."""
        count = self.settings.batch_rows
        drawn = torch.randint(len(rows), (self.settings.inner_steps * count,), generator=random).tolist()
        batches = []
        for at in range(0, len(drawn), count):
            chosen = [rows[index] for index in drawn[at : at + count]]
            batches.append(collate(encode(chosen, self.tokenizer, limit_of(self.model)), self.model.device))
        return batches


def outer_step(model: PreTrainedModel, batches: list[Batch], settings: ReptileSettings) -> None:
    """One SGD step on each batch, and then `step_size` of the way from the old weights to those."""
    trained = [value for value in model.parameters() if value.requires_grad]
    before = [value.detach().clone() for value in trained]
    for batch in batches:
        loss = nn.functional.cross_entropy(answer_logits(model, batch), batch.labels)
        gradients = torch.autograd.grad(loss, trained, allow_unused=True)
        with torch.no_grad():
            for value, gradient in zip(trained, gradients, strict=True):
                if gradient is not None:
                    value.sub_(settings.inner_rate * gradient)
    with torch.no_grad():
        for value, start in zip(trained, before, strict=True):
            value.copy_(torch.lerp(start, value, settings.step_size))
