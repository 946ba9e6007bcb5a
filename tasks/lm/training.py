"""The one training loop: exact resume from atomic checkpoints, one optimizer step per batch.

Killed anywhere and started again, it ends with the same bytes as if it had not been killed: a checkpoint holds
the weights, the optimizer's state, the step and the random state, and a batch is a function of the step alone.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.errors import BadInput, PerennialError
from tasks.lm.batches import Batch, Mixture
from tasks.lm.causal import head_of, hidden_states
from tasks.lm.checkpoint import restore, save_checkpoint
from tasks.steps import Log

BETAS = (0.9, 0.98)
WEIGHT_DECAY = 0.01
MAX_GRADIENT_NORM = 1.0

Penalty = Callable[[nn.Module, Batch], Tensor | float]


class Diverged(PerennialError):
    """The loss is no number any more; nothing of the run is kept."""


@dataclass(frozen=True)
class Schedule:
    """steps: optimizer steps. warmup: share of them in which the rate rises linearly, before it falls to zero."""

    steps: int
    learning_rate: float
    warmup: float
    checkpoint_every: int = 50

    def rate(self, step: int) -> float:
        """The learning rate of a step: linear up, then linear down to zero."""
        rising = max(1, round(self.steps * self.warmup))
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        return self.learning_rate * (self.steps - step) / max(1, self.steps - rising)


def train(
    model: PreTrainedModel,
    data: Mixture,
    schedule: Schedule,
    *,
    penalties: Iterable[Penalty] = (),
    scratch: Path,
    log: Log,
    seed: int,
) -> list[dict[str, float]]:
    """Train all parameters that require a gradient; return step, loss and learning rate of every step.

    Args:
        model: trained in place.
        data: the batches.
        schedule: how long, how fast, and how often a checkpoint is written.
        penalties: each adds to the loss.
        scratch: where checkpoints lie; the newest whole one is continued from.
        log: is given step, loss, learning rate and tokens per second.
        seed: of dropout.

    Raises:
        BadInput: there is nothing to train on.
        Diverged: the loss or a gradient is not finite.
    """
    if not data.parts:
        raise BadInput("There is nothing to train on: the slice has no facts, chat, examples or texts.")
    model.train()
    torch.manual_seed(seed)
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=0.0, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True)
    first, history = restore(scratch, trained, optimizer)
    for step in range(first, schedule.steps):
        started = time.monotonic()
        batch = data.batch(step)
        loss = answer_loss(model, batch)
        total = loss + sum(penalty(model, batch) for penalty in penalties)
        _update(optimizer, total, trained, schedule.rate(step), step)
        row = {"step": step + 1, "loss": loss.item(), "learning_rate": schedule.rate(step)}
        history.append(row)
        speed = batch.ids.numel() / (time.monotonic() - started)
        log(step + 1, {"loss": row["loss"], "learning_rate": row["learning_rate"], "tokens_per_second": speed})
        if (step + 1) % schedule.checkpoint_every == 0 and step + 1 < schedule.steps:
            save_checkpoint(scratch, step + 1, trained, optimizer, history)
    model.eval()
    return history


def answer_loss(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Mean cross-entropy of the predicted tokens, in nats. Logits are computed at those places only."""
    hidden = hidden_states(model, batch.ids)[batch.predicts]
    return nn.functional.cross_entropy(head_of(model)(hidden).float(), batch.labels)


def _update(
    optimizer: torch.optim.Optimizer, loss: Tensor, trained: dict[str, nn.Parameter], rate: float, step: int
) -> None:
    loss.backward()
    norm = nn.utils.clip_grad_norm_(trained.values(), MAX_GRADIENT_NORM)
    if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
        raise Diverged(f"The loss is not finite at step {step + 1}. Lower the learning rate; nothing was kept.")
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
