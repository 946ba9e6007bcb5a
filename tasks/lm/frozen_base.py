"""The matrices of frozen blocks in bfloat16, in half the bytes, while adapters over them are trained.

What an adapter learns is added to the weights as they were, in float32: merged into rounded ones, slice after slice,
most small changes would be lost.
"""

from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from tasks.errors import BadInput
from tasks.lm.adapters import plain
from tasks.lm.blocks import blocks_of
from tasks.lm.causal import load
from tasks.lm.logits import COMPUTED_IN

WRAPPED = ".base_layer"  # what peft calls a layer that it has wrapped


def _matrices(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """The frozen matrices of the blocks, by the names that they have in a model without adapters."""
    inside = {id(value) for value in blocks_of(model).parameters()}
    return {
        name.replace(WRAPPED, ""): value
        for name, value in plain(model).named_parameters()
        if id(value) in inside and value.dim() > 1 and not value.requires_grad
    }


def narrow(model: PreTrainedModel) -> None:
    """Round the frozen matrices of the blocks to bfloat16, in place.

    Raises:
        BadInput: matrix products are not in bfloat16 here.
    """
    if COMPUTED_IN.get(model.device.type) != torch.bfloat16:
        raise BadInput("lora with base: bfloat16 needs products in bfloat16: set `precision: bfloat16` in params.yaml.")
    for value in _matrices(model).values():
        value.data = value.data.to(torch.bfloat16)


@torch.no_grad()
def widen(model: PreTrainedModel, source: Path) -> None:
    """Give them back, in place, what they were: as the model in the folder `source` has them.

    No two copies of them are held: the rounded ones are let go first.
    """
    narrowed = _matrices(model)
    for value in narrowed.values():
        value.data = torch.empty(0, dtype=torch.float32, device=value.device)
    whole, _ = load(source, remember=False)
    for name, own in plain(whole).named_parameters():
        if name in narrowed:
            narrowed[name].data = own.data
