"""Adversarial training: the loss is also lowered where a small shift of the token embeddings raises it most.

FGM: Miyato et al. 2017, arXiv 1605.07725, eq. 5. PGD: Madry et al. 2018, arXiv 1706.06083, section 2.1, in an L2 ball.
FreeLB: Zhu et al. 2020, arXiv 1909.11764, algorithm 1. Each adds weight times its adversarial loss to the training
loss. A shift belongs to a row: its norm is taken over all of the row's tokens. Tokens that no prediction depends
on, padding among them, are not shifted. The embeddings are not normalised first, as Miyato et al. do to keep the
model from making the shift small by growing them; so epsilon is in the unit of the model's embeddings.
"""

from typing import final

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.lm.batches import Batch
from tasks.lm.logits import hidden_states, logits_of
from tasks.lm.methods.method import Method
from tasks.method_params import FGM as FGMSettings
from tasks.method_params import PGD as PGDSettings
from tasks.method_params import FreeLB as FreeLBSettings


@final
class FGM(Method):
    """The shift is epsilon * g / ||g||, g being the loss's gradient by the embeddings.

    Costs two forward and about one and a half backward passes more.
    """

    def __init__(self, settings: FGMSettings, seed: int):
        self.settings = settings

    def penalty(self, model: PreTrainedModel, batch: Batch, logits: Tensor) -> Tensor | float:
        shift = self.settings.epsilon * steepest(model, batch, no_shift(model, batch))
        return self.settings.weight * shifted_loss(model, batch, shift)


@final
class PGD(Method):
    """`steps` times, the shift goes `step_size` along g / ||g|| and back into the ball; the last one is trained on.

    It starts at the embeddings themselves. With one step it costs what FGM does, and with each further one a forward
    and about half a backward pass more.
    """

    def __init__(self, settings: PGDSettings, seed: int):
        self.settings = settings

    def penalty(self, model: PreTrainedModel, batch: Batch, logits: Tensor) -> Tensor | float:
        shift = no_shift(model, batch)
        for _ in range(self.settings.steps):
            moved = shift + self.settings.step_size * steepest(model, batch, shift)
            shift = projected(moved, self.settings.epsilon)
        return self.settings.weight * shifted_loss(model, batch, shift)


@final
class FreeLB(Method):
    """The mean loss over all points of PGD's way, its random start among them, so that each gives its gradient.

    Costs about `steps` training steps more, and their memory. A dropout mask is drawn for each point, not once for all
    of them as in section 3.3.
    """

    def __init__(self, settings: FreeLBSettings, seed: int):
        self.settings = settings

    def penalty(self, model: PreTrainedModel, batch: Batch, logits: Tensor) -> Tensor | float:
        shift = random_shift(model, batch, self.settings.epsilon)
        losses = []
        for step in range(self.settings.steps):
            shift.requires_grad_()
            losses.append(shifted_loss(model, batch, shift))
            if step + 1 < self.settings.steps:
                (gradient,) = torch.autograd.grad(losses[-1], shift, retain_graph=True)
                moved = shift.detach() + self.settings.step_size * unit(gradient)
                shift = projected(moved, self.settings.epsilon)
        return self.settings.weight * torch.stack(losses).mean()


def shifted_loss(model: PreTrainedModel, batch: Batch, shift: Tensor) -> Tensor:
    """Mean cross-entropy of the labels, in nats, with `shift`, [rows, length, width] float32, on the embeddings."""
    tokens = model.get_input_embeddings()(batch.ids)
    embeddings = (tokens.float() + shift).to(tokens.dtype)
    logits = logits_of(model, hidden_states(model, batch.ids, embeddings)[batch.predicts])
    return nn.functional.cross_entropy(logits, batch.labels)


def steepest(model: PreTrainedModel, batch: Batch, shift: Tensor) -> Tensor:
    """g / ||g|| at a shift; only the shift gets a gradient, the parameters' own stay as they are.

    Under causal attention it is zero at tokens after a row's last place that predicts, so none of them is shifted.
    """
    shift = shift.detach().requires_grad_()
    trained = [value for value in model.parameters() if value.requires_grad]
    for value in trained:  # else the graph holds what their gradients would need, and they are charged for
        value.requires_grad_(False)
    try:
        (gradient,) = torch.autograd.grad(shifted_loss(model, batch, shift), shift)
    finally:
        for value in trained:
            value.requires_grad_(True)
    return unit(gradient)


def unit(gradient: Tensor) -> Tensor:
    """Scale every row, over all its tokens, to norm 1; a row of zeros stays one."""
    norm = gradient.flatten(1).norm(dim=1)[:, None, None]
    return gradient / norm.clamp_min(torch.finfo(gradient.dtype).tiny)


def projected(shift: Tensor, epsilon: float) -> Tensor:
    """The nearest shift, row by row, whose norm is at most epsilon."""
    norm = shift.flatten(1).norm(dim=1)[:, None, None]
    return shift * (epsilon / norm.clamp_min(epsilon))


def needed(batch: Batch) -> Tensor:
    """1 up to each row's last place that predicts, 0 after it, [rows, length, 1]."""
    return batch.predicts.float().flip(1).cummax(1).values.flip(1)[:, :, None]


def no_shift(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Zeros, [rows, length, width] float32."""
    return torch.zeros_like(model.get_input_embeddings()(batch.ids).detach(), dtype=torch.float32)


def random_shift(model: PreTrainedModel, batch: Batch, epsilon: float) -> Tensor:
    """FreeLB's start: uniform in (-epsilon, epsilon), divided by the root of the row's number of values."""
    shift = no_shift(model, batch)
    # drawn on the CPU: the same on every device, and from a state that checkpoints keep
    shift.copy_(2 * torch.rand(shift.shape) - 1)
    values = needed(batch).sum(1, keepdim=True) * shift.shape[-1]
    return epsilon * shift * needed(batch) / values.sqrt()
