"""A model's weights by name: copied, and what was saved of each found again."""

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

Weights = dict[str, Tensor]  # by parameter name, in float32


def copied(model: PreTrainedModel) -> Weights:
    """A float32 copy of the weights."""
    return {name: value.detach().to(torch.float32, copy=True) for name, value in model.named_parameters()}


def name_of(model: PreTrainedModel, weight: Tensor) -> str:
    """The name of one of the model's weights; a tied one has one name."""
    return next(name for name, value in model.named_parameters() if value is weight)


def of_each(saved: Weights, model: PreTrainedModel) -> Weights:
    """What was saved of each weight, on the model's device.

    A head that was untied since then takes what was saved of the weight that it shared with the embeddings.
    """
    embeddings: Any = model.get_input_embeddings()
    shared = name_of(model, embeddings.weight)
    return {name: saved[name if name in saved else shared].to(value.device) for name, value in model.named_parameters()}
