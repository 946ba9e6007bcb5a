"""Bottleneck adapters: a small residual network after every block, in float32 as the trained weights of peft's are."""

from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.lm.blocks import blocks_of


class Bottleneck(nn.Module):
    """h + W_up gelu(W_down h) in place of h (Houlsby et al. 2019, section 2.1).

    W_up and its bias begin as zero, so that it begins as identity.
    """

    def __init__(self, model_width: int, width: int):
        super().__init__()
        self.down = nn.Linear(model_width, width)
        self.up = nn.Linear(width, model_width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        change = self.up(nn.functional.gelu(self.down(hidden.to(self.down.weight.dtype))))
        return hidden + change.to(hidden.dtype)

    def after_block(self, block: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """A forward hook. A method, and not a closure: a copy of the model must run its own copy of this."""
        return (self(output[0]), *output[1:]) if isinstance(output, tuple) else self(output)


class Bottlenecks(nn.Module):
    """A bottleneck adapter after every block (one per block, as in Pfeiffer et al. 2021, arXiv 2005.00247)."""

    def __init__(self, model: PreTrainedModel, width: int):
        super().__init__()
        blocks = blocks_of(model)
        self.width = width
        self.adapters = nn.ModuleList(Bottleneck(model.config.hidden_size, width) for _ in blocks)
        for block, adapter in zip(blocks, self.adapters, strict=True):
            block.register_forward_hook(adapter.after_block)  # type: ignore[union-attr, arg-type]

    def description(self) -> dict[str, Any]:
        return {"kind": "bottleneck", "width": self.width}
