"""Counts the floating-point operations of whatever runs: teachers, Fisher, generation and all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


@dataclass
class Operations:
    """count: floating-point operations so far."""

    count: int = 0


@contextmanager
def counted() -> Iterator[Operations]:
    """Count the matrix products of every linear layer (nn.Linear, and GPT-2's Conv1D) that is called meanwhile.

    A product of [n, i] by [i, o] is 2nio operations. Going back costs as much again for the input's gradient and
    for the weight's, where they can be needed (Kaplan et al. 2020, section 2.1: about 6 per parameter and token).
    Attention's own products are left out: below one in twenty at these lengths. torch's FlopCounterMode gives the
    same number for these layers, but takes two thirds more processor time, and seconds are compared, too.
    """
    operations = Operations()

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Linear | Conv1D):
            product = 2 * inputs[0].numel() * output.shape[-1]
            back = inputs[0].requires_grad + module.weight.requires_grad if torch.is_grad_enabled() else 0
            operations.count += (1 + back) * product

    handle = nn.modules.module.register_module_forward_hook(count)
    try:
        yield operations
    finally:
        handle.remove()
