"""Counts the floating-point operations of whatever runs: teachers, Fisher, generation and all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Operations:
    """count: floating-point operations so far."""

    count: int = 0


@contextmanager
def counted() -> Iterator[Operations]:
    """Count the matrix products of every nn.Linear that is called meanwhile.

    A product of [n, i] by [i, o] is 2nio operations. Going back costs as much again for the input's gradient and
    for the weight's, where they are needed (Kaplan et al. 2020, section 2.1: about 6 per parameter and token).
    Attention's own products are left out: below one in twenty at these lengths.
    """
    operations = Operations()

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Linear):
            passes = 1
            if torch.is_grad_enabled():
                passes += int(inputs[0].requires_grad) + int(module.weight.requires_grad)
            operations.count += passes * 2 * inputs[0].numel() * module.out_features

    handle = nn.modules.module.register_module_forward_hook(count)
    try:
        yield operations
    finally:
        handle.remove()
