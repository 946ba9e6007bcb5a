"""Rows become token sequences, and sequences become batches: batch k is a pure function of the seed and k.

So a run that resumes at step k needs nothing but k. Sequences of like length go together; about 95 % of a
batch's tokens are no padding.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tasks.lm.causal import start_token
from tasks.lm.template import prompt_text, target_text

POOL = 256  # sequences that are sorted by length at a time: larger is less padding, but less random
WINDOW = 40  # batches of a part that may change places, so that parts of like length meet


@dataclass(frozen=True)
class Sequence:
    """Token ids; those from `start` on are predicted, the others are given."""

    ids: list[int]
    start: int


@dataclass(frozen=True)
class Batch:
    """ids: [rows, length], padded on the right. predicts: the same shape, true where the next token counts.

    labels: [number of true places], in row-major order: the token that each of those places must predict.
    """

    ids: Tensor
    predicts: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Part:
    """Sequences that make up a fixed share of every batch."""

    sequences: list[Sequence]
    share: float


def encode(rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerBase, limit: int) -> list[Sequence]:
    """One sequence per row; a text without a prompt that is too long becomes several.

    A prompt that is too long loses its beginning, a target its end.
    """
    begin = start_token(tokenizer)
    prompts = _tokens([prompt_text(row["prompt"]) if row["prompt"] else "" for row in rows], tokenizer)
    targets = _tokens([target_text(row["target"]) if row["prompt"] else row["target"] for row in rows], tokenizer)
    sequences = []
    for row, prompt, target in zip(rows, prompts, targets, strict=True):
        if row["prompt"]:
            answer = target[: limit - 2]
            asked = prompt[max(0, len(prompt) + len(answer) + 1 - limit) :]
            sequences.append(Sequence([begin, *asked, *answer], 1 + len(asked)))
        else:
            text = [*target, begin]
            pieces = (text[at : at + limit - 1] for at in range(0, len(text), limit - 1))
            sequences += [Sequence([begin, *piece], 1) for piece in pieces]
    return sequences


def _tokens(texts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []


def collate(sequences: list[Sequence], device: torch.device) -> Batch:
    """Pad sequences to one length and mark what is predicted: the token after place p is label of place p."""
    length = max(len(sequence.ids) for sequence in sequences)
    ids = torch.zeros(len(sequences), length, dtype=torch.long)
    predicts = torch.zeros(len(sequences), length, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence.ids)] = torch.tensor(sequence.ids)
        predicts[row, sequence.start - 1 : len(sequence.ids) - 1] = True
    labels = torch.tensor([token for sequence in sequences for token in sequence.ids[sequence.start :]])
    return Batch(ids.to(device), predicts.to(device), labels.to(device))


def plan(lengths: list[int], batch_tokens: int, batches: int, seed: int) -> list[list[int]]:
    """Which sequences each batch holds: epoch after epoch of all of them, shuffled, by like length.

    Args:
        lengths: of the sequences, in tokens.
        batch_tokens: rows times the longest row of a batch is at most this (but a batch has at least one row).
        batches: how many batches are planned.
        seed: of the order; epoch e is shuffled by (seed, e) alone.
    """
    planned: list[list[int]] = []
    waiting: list[int] = []  # a run that is not full waits for the next pool, or the shares of a mixture would drift
    epoch = 0
    while len(planned) < batches:
        random = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(lengths), generator=random).tolist()
        made: list[list[int]] = []
        for at in range(0, len(order), POOL):
            pool = sorted(waiting + order[at : at + POOL], key=lambda index: lengths[index])
            runs = cut(pool, lengths, batch_tokens)
            waiting = runs.pop() if len(runs) > 1 else []
            made += runs
        planned += [made[index] for index in torch.randperm(len(made), generator=random).tolist()]
        epoch += 1
    return planned[:batches]


def cut(order: list[int], lengths: list[int], batch_tokens: int) -> list[list[int]]:
    """Split indices, sorted by length, into runs whose padded size is at most `batch_tokens`."""
    runs: list[list[int]] = []
    for index in order:
        if runs and lengths[index] * (len(runs[-1]) + 1) <= batch_tokens:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


class Mixture:
    """Batches in which every part has its share of the tokens."""

    def __init__(self, parts: list[Part], batch_tokens: int, steps: int, seed: int, device: torch.device):
        self.parts = [part for part in parts if part.sequences]
        self.device = device
        whole = sum(part.share for part in self.parts)
        self.plans = []
        for number, part in enumerate(self.parts):
            lengths = [len(sequence.ids) for sequence in part.sequences]
            planned = plan(lengths, max(1, round(batch_tokens * part.share / whole)), steps, seed + number)
            self.plans.append(_aligned(planned, lengths, seed))

    def batch(self, step: int) -> Batch:
        """The batch of one step, a pure function of the seed and the step."""
        chosen = [
            part.sequences[index]
            for part, planned in zip(self.parts, self.plans, strict=True)
            for index in planned[step]
        ]
        return collate(chosen, self.device)


def _aligned(planned: list[list[int]], lengths: list[int], seed: int) -> list[list[int]]:
    """Order the batches of a part so that long ones meet long ones of the other parts: a third less padding.

    Every window is sorted by length and then shuffled in the same way in each part.
    """
    aligned: list[list[int]] = []
    for at in range(0, len(planned), WINDOW):
        window = sorted(planned[at : at + WINDOW], key=lambda batch: max(lengths[index] for index in batch))
        random = torch.Generator().manual_seed(seed * 1_000_003 + at)
        aligned += [window[index] for index in torch.randperm(len(window), generator=random).tolist()]
    return aligned
