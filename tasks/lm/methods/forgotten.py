"""Replay of what is being forgotten: the older rows that the model is worst at come back most often.

MIR (Aljundi et al. 2019, arXiv 1908.04742) scores every candidate twice, before and after a trial update, and
replays those whose loss rises most. Here one forward pass of the model as it comes from the slice before scores
them: its loss on an old answer, which it once knew, is what the slices since have done.
"""

from pathlib import Path
from typing import final

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.batches import batches_of, encode
from tasks.lm.causal import limit_of
from tasks.lm.logits import token_losses
from tasks.lm.methods.method import Method, Row, Share, Shares
from tasks.lm.methods.replay import with_older
from tasks.lm.shares import at_most
from tasks.method_params import Forgotten as ForgottenSettings

SCORED_TOKENS = 4096


@final
class Forgotten(Method):
    """Gives `share` of every batch to older rows: a part to all of them, the rest to those of the highest loss."""

    def __init__(self, settings: ForgottenSettings, seed: int):
        self.settings = settings
        self.seed = seed

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        self.model, self.tokenizer = model, tokenizer
        return model

    def examples(self, shares: Shares, older: list[Row]) -> Shares:
        if not older:
            return shares
        # a statement's subject can't be foretold: its loss is high, however well it is known
        questions = [row for row in older if row["prompt"]] or older
        candidates = at_most(questions, self.settings.candidates, self.seed)
        losses = row_losses(self.model, self.tokenizer, candidates)
        worst = losses.argsort(descending=True, stable=True)[: self.settings.rows].tolist()
        share, uniform = self.settings.share, self.settings.uniform
        *own, _ = with_older(shares, older, share)
        return [
            *own,
            Share([candidates[index] for index in sorted(worst)], share * (1 - uniform)),
            Share(older, share * uniform),
        ]


@torch.no_grad()
def row_losses(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: list[Row]) -> Tensor:
    """Mean cross-entropy of each row's answer tokens, in nats, [rows]."""
    model.eval()
    owned = [(owner, each) for owner, row in enumerate(rows) for each in encode([row], tokenizer, limit_of(model))]
    total, tokens = torch.zeros(len(rows), dtype=torch.float64), torch.zeros(len(rows), dtype=torch.float64)
    for run, batch in batches_of([each for _, each in owned], SCORED_TOKENS, model.device):
        losses, _ = token_losses(model, batch)
        owners = batch.by_place(torch.tensor([owned[index][0] for index in run], device=model.device)).cpu()
        total.index_add_(0, owners, losses.double().cpu())
        tokens.index_add_(0, owners, torch.ones(len(owners), dtype=torch.float64))
    return total / tokens
