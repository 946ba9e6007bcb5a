"""Dark experience replay, DER++ (Buzzega et al. 2020, arXiv 2004.07211, eq. 6): replay of rows and of their logits.

A buffer goes from slice to slice in the method's folder: for a few rows with a prompt the logits that the model gave
for the answer when it had learnt the row. The rows themselves are those that `keep` allows, all or the pool, and the
buffer names them by their ids: so it holds no row that must not be kept, and none that was overridden. The logits
take 2 bytes per answer token and word of the vocabulary: 500 rows of 8 tokens are 16 MB with 2,000 words, 400 MB
with 50,000.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.batches import Batch, Mixture, batches_of, encode
from tasks.lm.causal import limit_of
from tasks.lm.logits import answer_logits
from tasks.lm.methods.method import Method, Row, Shares
from tasks.lm.methods.replay import with_older
from tasks.lm.pool import pooled
from tasks.method_params import DER as DERSettings

LOGITS = "der.safetensors"
FORWARD_TOKENS = 4096  # per forward pass


@final
class DER(Method):
    """Gives `share` of every batch to the buffer and adds alpha * mean((z - h(x))^2) over its answer places.

    z are the stored logits, h(x) the model's, and the mean goes over the vocabulary, too, as in the authors' code.
    Eq. 6's third term, beta times the cross-entropy of buffer rows, needs no code here: those rows are in the
    batch, so that the training loss has it, and `share` has the part of beta. Both terms see the same buffer rows,
    where the paper draws them twice.
    """

    def __init__(self, settings: DERSettings, seed: int):
        self.settings = settings
        self.seed = seed
        self.rows: list[Row] = []
        self.fresh: set[str] = set()  # ids of the slice's own rows with a prompt
        self.part = 1  # of the mixture, that is the buffer's
        self.logits: dict[str, Tensor] = {}  # of the answer's tokens, [tokens, vocabulary] float16, by row id
        self.stored: dict[tuple[int, ...], Tensor] = {}

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        self.tokenizer = tokenizer
        path = previous / "method" / LOGITS
        if path.exists():
            self.logits = {name: value.to(model.device) for name, value in load_file(path).items()}
        return model

    def examples(self, shares: Shares, older: list[Row]) -> Shares:
        self.fresh = {row["id"] for row in shares[0].rows if row["prompt"]}
        self.rows = [row for row in older if row["id"] in self.logits]
        self.part = len(shares)
        shares = with_older(shares, self.rows, self.settings.share)
        return [*shares[:-1], replace(shares[-1], as_is=True)] if self.rows else shares

    def penalty(self, model: PreTrainedModel, batch: Batch, logits: Tensor) -> Tensor | float:
        rows = batch.parts == self.part
        if not rows.any():
            return 0.0
        if not self.stored:
            self.stored = self.by_tokens(model)
        stored = torch.cat([self.stored[tokens] for tokens in _tokens(batch, rows)])
        return self.settings.alpha * nn.functional.mse_loss(logits[batch.sources == self.part], stored.float())

    def by_tokens(self, model: PreTrainedModel) -> dict[tuple[int, ...], Tensor]:
        """The stored logits by a row's tokens: a share may be thinned out, so that a place in it says nothing."""
        sequences = encode(self.rows, self.tokenizer, limit_of(model))
        return {tuple(each.ids): self.logits[row["id"]] for row, each in zip(self.rows, sequences, strict=True)}

    def end(self, model: PreTrainedModel, data: Mixture, out: Path) -> PreTrainedModel:
        learnt = self.logits.keys() | self.fresh
        candidates = [row for row in self.keepable if row["id"] in learnt]
        chosen = pooled([], candidates, self.settings.rows, "balanced", self.seed)
        logits = self.logits | self._logits_of([row for row in chosen if row["id"] not in self.logits], model)
        out.mkdir(exist_ok=True)
        save_file({row["id"]: logits[row["id"]].cpu() for row in chosen}, out / LOGITS)
        return model

    @torch.no_grad()
    def _logits_of(self, rows: list[Row], model: PreTrainedModel) -> dict[str, Tensor]:
        model.eval()
        sequences = encode(rows, self.tokenizer, limit_of(model))
        logits: dict[str, Tensor] = {}
        for run, batch in batches_of(sequences, FORWARD_TOKENS, model.device):
            found = answer_logits(model, batch).half().split(batch.predicts.sum(1).tolist())
            logits |= {rows[index]["id"]: value.clone() for index, value in zip(run, found, strict=True)}
        return logits


def _tokens(batch: Batch, rows: Tensor) -> Iterator[tuple[int, ...]]:
    """The token ids of those rows, without padding; after the last place that predicts there is one more token."""
    ends = batch.predicts[rows].long().cumsum(1).argmax(1) + 2
    for ids, end in zip(batch.ids[rows].tolist(), ends.tolist(), strict=True):
        yield tuple(ids[:end])
