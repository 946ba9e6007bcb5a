"""Stage 2's work: hidden states are computed once, and every epoch trains `hidden @ W_head` alone."""

import time

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tasks.corpus.slices import Row, slice_of
from tasks.lm.batches import Sequence, batches_of
from tasks.lm.logits import head_of, hidden_states, learn
from tasks.lm.shares import at_most
from tasks.params import Stage2
from tasks.steps import Log

FEATURE_TOKENS = 8192  # per forward pass


def rows_for_the_head(which: str, fresh: list[Row], older: list[Row], share: float, seed: int) -> list[Row]:
    """What stage 2 sees; nothing, where the slice has no rows of its own and stage 1 replayed none.

    Args:
        which: `same`: as stage 1 saw them, the slice's own rows and the older ones in the proportion `share`;
            `fresh`: only the slice's own; `older`: only older ones; `balanced`: as many of every slice.
        fresh: the slice's own.
        older: what stage 1 left of older slices.
        share: of the batches of stage 1 that older rows had.
        seed: of the choice among older rows.
    """
    if not fresh:  # a slice of memories alone: what stage 1 saw is what it replayed
        return [] if which == "fresh" else older
    if which == "older" and older:
        return at_most(older, len(fresh), seed)
    if which == "same":
        return [*fresh, *at_most(older, round(len(fresh) * share / (1 - share)), seed)]
    if which == "balanced":
        by_slice: dict[str, list[Row]] = {}
        for row in older:
            by_slice.setdefault(slice_of(row), []).append(row)
        return [*fresh, *(row for rows in by_slice.values() for row in at_most(rows, len(fresh), seed))]
    return fresh


@torch.no_grad()
def features(model: PreTrainedModel, sequences: list[Sequence]) -> tuple[Tensor, Tensor]:
    """Hidden states at the places that predict an answer's tokens, [places, width], and those tokens, [places]."""
    hidden, labels = [], []
    for _, batch in batches_of(sequences, FEATURE_TOKENS, model.device):
        hidden.append(hidden_states(model, batch.ids)[batch.predicts])
        labels.append(batch.labels)
    return torch.cat(hidden), torch.cat(labels)


def refit_head(
    model: PreTrainedModel, hidden: Tensor, labels: Tensor, settings: Stage2, seed: int, log: Log
) -> list[dict[str, float]]:
    """Train the head's weights in place by AdamW on fixed hidden states; return each epoch's mean loss, in nats.

    To the loss is added anchor * sum_i (w_i - w*_i)^2, w* being the weights as they were (as tasks/lm/methods/l2.py).
    """
    head = head_of(model)
    before = [value.detach().clone() for value in head.parameters()] if settings.anchor else []
    optimizer = torch.optim.AdamW(head.parameters(), lr=settings.learning_rate, weight_decay=0.0)
    random = torch.Generator().manual_seed(seed)
    history: list[dict[str, float]] = []
    for epoch in range(1, settings.epochs + 1):
        total, started = 0.0, time.monotonic()
        for places in torch.randperm(len(labels), generator=random).to(labels.device).split(settings.batch_positions):
            loss = learn(model, hidden[places], labels[places])
            for now, old in zip(head.parameters(), before, strict=False):
                (settings.anchor * (now - old).square().sum()).backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item() * len(places)
        history.append({"step": epoch, "loss": total / len(labels), "learning_rate": settings.learning_rate})
        speed = len(labels) / (time.monotonic() - started)
        log(epoch, {"loss": total / len(labels), "learning_rate": settings.learning_rate, "tokens_per_second": speed})
    return history
