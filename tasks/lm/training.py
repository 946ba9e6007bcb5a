"""The one training loop: exact resume from atomic checkpoints, one optimizer step per batch.

Killed anywhere and started again, it ends with the same bytes as if it had not been killed: a checkpoint holds
the weights, the optimizer's and the methods' state, the step and the random state, and a batch is a function of
the step alone.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.errors import BadInput, PerennialError
from tasks.lm.batches import Batch, Mixture, parts_of
from tasks.lm.checkpoint import Pace, restore, save_checkpoint
from tasks.lm.logits import hidden_states, learn, logits_of, token_losses
from tasks.lm.methods.method import Method
from tasks.steps import Log

BETAS = (0.9, 0.98)
WEIGHT_DECAY = 0.01
MAX_GRADIENT_NORM = 1.0


class Diverged(PerennialError):
    """The loss is no number any more; nothing of the run is kept."""


@dataclass(frozen=True)
class Schedule:
    """How long, and how fast.

    steps: optimizer steps. warmup: share of them in which the rate rises linearly, before it falls to zero.
    accumulate: parts that a batch is taken in, one after another, whose gradients are summed.
    """

    steps: int
    learning_rate: float
    warmup: float
    checkpoint_every: int = 50
    accumulate: int = 1

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
    methods: Sequence[Method] = (),
    stop: "EarlyStop | None" = None,
    scratch: Path,
    log: Log,
    seed: int,
) -> list[dict[str, float]]:
    """Train all parameters that require a gradient; return step, loss and learning rate of every step.

    Args:
        model: trained in place.
        data: the batches.
        schedule: how long, how fast, and how often a checkpoint is written.
        methods: add to the loss, and act before and after each update.
        stop: ends the training when the held-out loss no longer falls, and puts the best weights back.
        scratch: where checkpoints lie; the newest whole one is continued from.
        log: is given step, loss, learning rate and tokens per second.
        seed: of dropout.

    Raises:
        BadInput: there is nothing to train on.
        Diverged: the loss or a gradient is not finite.
    """
    if not data.plans:
        raise BadInput("There is nothing to train on: the slice has no facts, chat, examples or texts.")
    model.train()
    torch.manual_seed(seed)
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    method_state = {
        f"{place}.{name}": value for place, each in enumerate(methods) for name, value in each.state().items()
    }
    if stop:
        method_state |= stop.begin(trained)
    optimizer = torch.optim.AdamW(trained.values(), lr=0.0, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True)
    first, history = restore(scratch, trained, method_state, optimizer)
    pace = Pace(schedule.checkpoint_every)
    for step in range(first, schedule.steps):
        if stop and stop.over:
            break
        started = time.monotonic()
        batch = data.batch(step)
        loss, total = _gradients(model, batch, methods, schedule.accumulate)
        norm = nn.utils.clip_grad_norm_(trained.values(), MAX_GRADIENT_NORM)
        if not (math.isfinite(total) and math.isfinite(norm.item())):
            raise Diverged(f"The loss is not finite at step {step + 1}. Lower the learning rate; nothing was kept.")
        rate = schedule.rate(step)
        for method in methods:
            rate = method.before_update(model, step, rate)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
        for method in methods:
            method.after_update(model, step)
        row = {"step": step + 1, "loss": loss, "learning_rate": rate}
        if stop and stop.due(step):
            row["held_out_loss"] = stop.look(model, trained)
        history.append(row)
        speed = batch.ids.numel() / (time.monotonic() - started)
        log(step + 1, {key: value for key, value in row.items() if key != "step"} | {"tokens_per_second": speed})
        if step + 1 < schedule.steps and pace.due(step + 1):
            with pace.timed():
                save_checkpoint(scratch, step + 1, trained, method_state, optimizer, history)
    if stop:
        stop.end(trained)
    model.eval()
    return history


def _gradients(model: PreTrainedModel, batch: Batch, methods: Sequence[Method], accumulate: int) -> tuple[float, float]:
    """Make the gradients of a batch's loss; return its cross-entropy, in nats, and that with what methods add to it."""
    plain = not any(method.adds_to_loss() for method in methods)
    mean = whole = 0.0
    for part in parts_of(batch, accumulate):
        share = len(part.labels) / len(batch.labels)
        hidden = hidden_states(model, part.ids)[part.predicts]
        if plain:
            loss = total = learn(model, hidden, part.labels, share)
        else:
            logits = logits_of(model, hidden)
            loss = nn.functional.cross_entropy(logits, part.labels)
            total = loss + sum(method.penalty(model, part, logits) for method in methods)
            (share * total).backward()
        mean, whole = mean + share * loss.item(), whole + share * total.item()
    return mean, whole


class EarlyStop:
    """Ends a slice's training when the loss on held-out rows has not fallen for `patience` looks.

    All that it knows is tensors, so that a checkpoint keeps it: the best loss and weights, and the looks since.
    """

    def __init__(self, held_out: list[Batch], every: int, patience: int):
        self.held_out, self.every, self.patience = held_out, every, patience
        self.best_loss, self.waited = torch.tensor(math.inf, dtype=torch.float64), torch.tensor(0)
        self.best: dict[str, Tensor] = {}

    def begin(self, trained: dict[str, nn.Parameter]) -> dict[str, Tensor]:
        """Start anew; return the tensors that a checkpoint must keep."""
        self.best = {name: value.detach().clone() for name, value in trained.items()}
        return {"stop.loss": self.best_loss, "stop.waited": self.waited} | {
            f"stop.best.{name}": value for name, value in self.best.items()
        }

    @property
    def over(self) -> bool:
        return int(self.waited) >= self.patience

    def due(self, step: int) -> bool:
        return (step + 1) % self.every == 0

    @torch.no_grad()
    def look(self, model: PreTrainedModel, trained: dict[str, nn.Parameter]) -> float:
        """Mean cross-entropy per held-out answer token, in nats; the best weights so far are kept."""
        model.eval()
        losses = [token_losses(model, batch)[0].double() for batch in self.held_out]
        model.train()
        loss = torch.cat(losses).mean()
        if loss < self.best_loss:
            self.best_loss.copy_(loss)
            self.waited.zero_()
            for name, value in trained.items():
                self.best[name].copy_(value)
        else:
            self.waited += 1
        return float(loss)

    @torch.no_grad()
    def end(self, trained: dict[str, nn.Parameter]) -> None:
        """Put the best weights back, if there was a look at all."""
        if torch.isfinite(self.best_loss):
            for name, value in trained.items():
                value.copy_(self.best[name])
