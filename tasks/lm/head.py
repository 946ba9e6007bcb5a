"""Stage 2's work: hidden states are computed once, and every epoch trains `hidden @ W_head` alone."""

import time

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.lm.batches import Part, Sequence, collate, cut
from tasks.lm.causal import head_of, hidden_states
from tasks.params import Stage2
from tasks.steps import Log

FEATURE_TOKENS = 8192  # per forward pass


def balanced_sample(parts: list[Part], seed: int) -> list[Sequence]:
    """All sequences of the first part, and of the others as many as their share asks for, by the seed."""
    fresh, *others = [part for part in parts if part.sequences]
    chosen = list(fresh.sequences)
    for number, part in enumerate(others):
        count = min(len(part.sequences), round(len(fresh.sequences) * part.share / fresh.share))
        random = torch.Generator().manual_seed(seed + number)
        order = torch.randperm(len(part.sequences), generator=random).tolist()
        chosen += [part.sequences[index] for index in order[:count]]
    return chosen


@torch.no_grad()
def features(model: PreTrainedModel, sequences: list[Sequence]) -> tuple[Tensor, Tensor]:
    """Hidden states at the places that predict an answer's tokens, [places, width], and those tokens, [places]."""
    lengths = [len(sequence.ids) for sequence in sequences]
    order = sorted(range(len(sequences)), key=lambda index: lengths[index])
    hidden, labels = [], []
    for run in cut(order, lengths, FEATURE_TOKENS):
        batch = collate([sequences[index] for index in run], model.device)
        hidden.append(hidden_states(model, batch.ids)[batch.predicts])
        labels.append(batch.labels)
    return torch.cat(hidden), torch.cat(labels)


def refit_head(
    model: PreTrainedModel, hidden: Tensor, labels: Tensor, settings: Stage2, seed: int, log: Log
) -> list[dict[str, float]]:
    """Train the head's weights in place by AdamW on fixed hidden states; return each epoch's mean loss, in nats."""
    head = head_of(model)
    optimizer = torch.optim.AdamW(head.parameters(), lr=settings.learning_rate, weight_decay=0.0)
    random = torch.Generator().manual_seed(seed)
    history: list[dict[str, float]] = []
    for epoch in range(1, settings.epochs + 1):
        total, started = 0.0, time.monotonic()
        for places in torch.randperm(len(labels), generator=random).to(labels.device).split(settings.batch_positions):
            loss = nn.functional.cross_entropy(head(hidden[places]).float(), labels[places])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item() * len(places)
        history.append({"step": epoch, "loss": total / len(labels), "learning_rate": settings.learning_rate})
        speed = len(labels) / (time.monotonic() - started)
        log(epoch, {"loss": total / len(labels), "learning_rate": settings.learning_rate, "tokens_per_second": speed})
    return history
