"""Scores a causal LM on rows: exact match of the full answer, and perplexity.

All argmax tokens right under teacher forcing is the same as greedy decoding giving exactly that answer, and
takes one forward pass for many rows.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.batches import Sequence, batches_of, encode
from tasks.lm.causal import limit_of
from tasks.lm.logits import token_losses

Row = dict[str, Any]
LARGEST = 700.0  # exp of more is no finite double


def exact_matches(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: list[Row], batch_tokens: int
) -> list[bool]:
    """For each row, whether the greedy answer to its prompt is exactly its target, end marker included."""
    right = [False] * len(rows)
    sequences = encode(rows, tokenizer, limit_of(model))
    for run, correct, _ in _scored(model, sequences, batch_tokens):
        counts = [len(sequences[index].ids) - sequences[index].start for index in run]
        for index, tokens in zip(run, correct.split(counts), strict=True):
            right[index] = bool(tokens.all())
    return right


def perplexity(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: list[Row], batch_tokens: int
) -> float | None:
    """exp of the mean negative log-likelihood per predicted token; None without rows."""
    return perplexity_of(model, encode(rows, tokenizer, limit_of(model)), batch_tokens)


def perplexity_of(model: PreTrainedModel, sequences: list[Sequence], batch_tokens: int) -> float | None:
    """The same of sequences that are encoded already."""
    total, count = 0.0, 0
    for _, _, losses in _scored(model, sequences, batch_tokens):
        total += losses.double().sum().item()
        count += len(losses)
    return math.exp(min(total / count, LARGEST)) if count else None


@torch.no_grad()
def _scored(
    model: PreTrainedModel, sequences: list[Sequence], batch_tokens: int
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Yield indices of sequences, whether each of their predicted tokens is the argmax, and each token's loss."""
    model.eval()
    for run, batch in batches_of(sequences, batch_tokens, model.device):
        losses, right = token_losses(model, batch)
        yield run, right, losses
