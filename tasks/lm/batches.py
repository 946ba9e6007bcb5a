"""Rows become token sequences, and sequences become batches: batch k is a pure function of the seed and k.

So a run that resumes at step k needs nothing but k. Sequences of like length go together. On the default's rows, in
batches of 512 tokens, 93 to 95 % of a batch are no padding as long as all of it comes from one part. Rows of several
parts are padded to one length: with replay 80 to 85 %, and a batch has 545 to 583 tokens on average, 722 at most.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tasks.lm.template import start_token, template_of

POOL = 256  # sequences that are sorted by length at a time: larger is less padding, but less random
PHASES = 5  # in which a decaying share falls
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
    parts, indices: [rows], the part that each row comes from (0 is the slice's own) and its place there.
    """

    ids: Tensor
    predicts: Tensor
    labels: Tensor
    parts: Tensor
    indices: Tensor

    @property
    def sources(self) -> Tensor:
        """The part that each place's row comes from, [places]."""
        return self.by_place(self.parts)

    def by_place(self, rows: Tensor) -> Tensor:
        """What is said of each row, [rows], said of each of its places, [places]."""
        return rows.repeat_interleave(self.predicts.sum(1))


@dataclass(frozen=True)
class Part:
    """Sequences that make up a share of every batch; it is multiplied by `decay` at each fifth of the steps."""

    sequences: list[Sequence]
    share: float
    decay: float = 1.0


def encode(rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerBase, limit: int) -> list[Sequence]:
    """One sequence per row; a text without a prompt that is too long becomes several.

    A prompt that is too long loses its beginning, a target its end. A row that is marked `whole` is predicted
    from its first token on, prompt and all.
    """
    begin, template = start_token(tokenizer), template_of(tokenizer)
    prompts = _tokens([template.prompt(row["prompt"]) if row["prompt"] else "" for row in rows], tokenizer)
    targets = _tokens([template.target(row["target"]) if row["prompt"] else row["target"] for row in rows], tokenizer)
    sequences = []
    for row, prompt, target in zip(rows, prompts, targets, strict=True):
        if row["prompt"]:
            answer = target[: limit - 2]
            question = prompt[max(0, len(prompt) + len(answer) + 1 - limit) :]
            sequences.append(Sequence([begin, *question, *answer], 1 if row.get("whole") else 1 + len(question)))
        else:
            text = [*target, begin]
            pieces = (text[at : at + limit - 1] for at in range(0, len(text), limit - 1))
            sequences += [Sequence([begin, *piece], 1) for piece in pieces]
    return sequences


def _tokens(texts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []


def collate(sequences: list[Sequence], device: torch.device, origin: list[tuple[int, int]] | None = None) -> Batch:
    """Pad sequences to one length and mark what is predicted: the token after place p is label of place p.

    `origin` has each sequence's part and its place in it; without, all come from the slice itself, in this order.
    """
    length = max(len(sequence.ids) for sequence in sequences)
    ids = torch.zeros(len(sequences), length, dtype=torch.long)
    predicts = torch.zeros(len(sequences), length, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence.ids)] = torch.tensor(sequence.ids)
        predicts[row, sequence.start - 1 : len(sequence.ids) - 1] = True
    labels = torch.tensor([token for sequence in sequences for token in sequence.ids[sequence.start :]])
    parts, indices = torch.tensor(origin or [(0, index) for index in range(len(sequences))]).T
    return Batch(ids.to(device), predicts.to(device), labels.to(device), parts.to(device), indices.to(device))


def rows_of(batch: Batch, rows: Tensor) -> Batch:
    """Those rows as a batch of their own, cut after the last place that predicts."""
    predicts = batch.predicts[rows]
    length = int(predicts.any(0).nonzero().max()) + 1  # what follows can't change a prediction
    return Batch(
        ids=batch.ids[rows, :length],
        predicts=predicts[:, :length],
        labels=batch.labels[batch.by_place(rows)],
        parts=batch.parts[rows],
        indices=batch.indices[rows],
    )


def parts_of(batch: Batch, count: int) -> Iterator[Batch]:
    """The batch's rows, in their order, as so many batches of like size; as fewer, where it has fewer rows."""
    if count == 1:
        yield batch
        return
    rows = torch.arange(len(batch.ids), device=batch.ids.device)
    for part in torch.tensor_split(rows, min(count, len(rows))):
        yield rows_of(batch, torch.isin(rows, part))


def plan(lengths: list[int], batch_tokens: list[int], seed: int) -> list[list[int]]:
    """Which sequences each batch holds: epoch after epoch of all of them, shuffled, by like length.

    Args:
        lengths: of the sequences, in tokens.
        batch_tokens: of each batch: rows times its longest row is at most this (but a batch has at least one row).
        seed: of the order; epoch e is shuffled by (seed, e) alone.
    """
    planned: list[list[int]] = []
    waiting: list[int] = []  # a run that is not full waits for the next pool, or the shares of a mixture would drift
    epoch = 0
    while len(planned) < len(batch_tokens):
        size = batch_tokens[len(planned)]
        random = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(lengths), generator=random).tolist()
        made: list[list[int]] = []
        for at in range(0, len(order), POOL):
            pool = sorted(waiting + order[at : at + POOL], key=lambda index: lengths[index])
            runs = cut(pool, lengths, size)
            waiting = runs.pop() if len(runs) > 1 else []
            made += runs
        # a part whose share changes is planned anew from there
        room = next((at for at, each in enumerate(batch_tokens[len(planned) :]) if each != size), len(made))
        planned += [made[index] for index in torch.randperm(len(made), generator=random).tolist()[:room]]
        epoch += 1
    return planned[: len(batch_tokens)]


def batches_of(sequences: list[Sequence], batch_tokens: int, device: torch.device) -> Iterator[tuple[list[int], Batch]]:
    """All sequences once, in batches of like length, each with the places in `sequences` of its rows."""
    for run in by_length([len(each.ids) for each in sequences], batch_tokens):
        yield run, collate([sequences[index] for index in run], device)


def by_length(lengths: list[int], batch_tokens: int) -> list[list[int]]:
    """Places, shortest first, in runs whose padded size is at most `batch_tokens`."""
    return cut(sorted(range(len(lengths)), key=lambda index: lengths[index]), lengths, batch_tokens)


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
    """Batches in which every part has its share of the tokens.

    The rows of a part, padded to the longest of them, take at most the part's share of `batch_tokens`, or are one row.
    Padded to the longest of all parts they can take more.
    """

    def __init__(self, parts: list[Part], batch_tokens: int, steps: int, seed: int, device: torch.device):
        self.parts = parts
        self.device = device
        filled = [number for number, part in enumerate(parts) if part.sequences]
        weights = [[_weight(parts[number], step, steps) for number in filled] for step in range(steps)]
        self.plans: dict[int, list[list[int]]] = {}
        for place, number in enumerate(filled):
            lengths = [len(sequence.ids) for sequence in parts[number].sequences]
            sizes = [max(1, round(batch_tokens * each[place] / sum(each))) for each in weights]
            self.plans[number] = _aligned(plan(lengths, sizes, seed + place), lengths, _windows(weights), seed)

    def batch(self, step: int) -> Batch:
        """The batch of one step, a pure function of the seed and the step."""
        origin = [(number, index) for number, planned in self.plans.items() for index in planned[step]]
        return collate([self.parts[number].sequences[index] for number, index in origin], self.device, origin)


def _weight(part: Part, step: int, steps: int) -> float:
    return float(part.share * part.decay ** (step * PHASES // steps))


def _windows(weights: list[list[float]]) -> list[tuple[int, int]]:
    """Steps that may change places: WINDOW at a time, and only where all parts keep their share."""
    starts = [0]
    for step in range(1, len(weights)):
        if step - starts[-1] == WINDOW or weights[step] != weights[step - 1]:
            starts.append(step)
    return list(zip(starts, [*starts[1:], len(weights)], strict=True))


def _aligned(
    planned: list[list[int]], lengths: list[int], windows: list[tuple[int, int]], seed: int
) -> list[list[int]]:
    """Order the batches of a part so that long ones meet long ones of the other parts: a third less padding.

    Every window is sorted by length and then shuffled in the same way in each part.
    """
    aligned: list[list[int]] = []
    for first, end in windows:
        window = sorted(planned[first:end], key=lambda batch: max(lengths[index] for index in batch))
        random = torch.Generator().manual_seed(seed * 1_000_003 + first)
        aligned += [window[index] for index in torch.randperm(len(window), generator=random).tolist()]
    return aligned
