"""K-Adapters: networks beside the backbone that take its hidden states, in float32."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.lm.blocks import blocks_of


class KLayer(nn.Module):
    """One layer of a K-Adapter: x + W_up f(W_down x), f being a residual feed-forward network."""

    def __init__(self, model_width: int, width: int):
        super().__init__()
        self.down = nn.Linear(model_width, width)
        self.inner = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.up = nn.Linear(width, model_width)

    def forward(self, x: Tensor) -> Tensor:
        low = self.down(x)
        return x + self.up(low + self.inner(low))


class KAdapter(nn.Module):
    """What one slice adds: a = the last of its layers, each taking a block's hidden state plus the layer before.

    Returns W [h; a] + b with h the backbone's last hidden state; W and b begin as zero.
    """

    def __init__(self, model_width: int, width: int, layers: int):
        super().__init__()
        self.layers = nn.ModuleList(KLayer(model_width, width) for _ in range(layers))
        self.join = nn.Linear(2 * model_width, model_width)
        nn.init.zeros_(self.join.weight)
        nn.init.zeros_(self.join.bias)

    def forward(self, taken: list[Tensor], last: Tensor) -> Tensor:
        state = torch.zeros_like(last)
        for hidden, layer in zip(taken, self.layers, strict=True):
            state = layer(hidden + state)
        return self.join(torch.cat([last, state], -1))


class KAdapters(nn.Module):
    """One K-Adapter per slice beside the backbone (Wang et al. 2020, arXiv 2002.01808, section 3).

    There is no information flow between them: what they return is added to the backbone's last hidden state. Three
    things differ from the paper. Their layers have feed-forward networks where it has transformer layers, as
    generation keeps the past of the backbone alone. Hidden states are normalised when they are taken, which those of
    RoBERTa are by themselves. And what the paper concatenates for a task's new classifier is added up here, so that
    the LM head stays as it is.
    """

    def __init__(self, model: PreTrainedModel, width: int, layers: list[int], slices: int):
        super().__init__()
        self.width, self.model_width, self.places = width, model.config.hidden_size, list(layers)
        self.adapters = nn.ModuleList()
        for _ in range(slices):
            self.add()
        self.taken: dict[int, Tensor] = {}  # of the forward pass that runs, by block
        blocks = blocks_of(model)
        for place in self.places:
            blocks[place].register_forward_hook(partial(self.take, place))
        model.base_model.register_forward_hook(self.after_backbone)

    def add(self) -> None:
        """Add the adapter of one more slice."""
        device = next(self.parameters()).device if len(self.adapters) else None
        self.adapters.append(KAdapter(self.model_width, self.width, len(self.places)).to(device))

    def description(self) -> dict[str, Any]:
        return {"kind": "k_adapter", "width": self.width, "layers": self.places, "slices": len(self.adapters)}

    def take(self, place: int, block: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """A forward hook of a block: keep its hidden state."""
        hidden = (output[0] if isinstance(output, tuple) else output).float()
        self.taken[place] = nn.functional.layer_norm(hidden, hidden.shape[-1:])

    def after_backbone(self, backbone: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """A forward hook of the backbone: add what the adapters make of the states that were taken."""
        taken, last = [self.taken.pop(place) for place in self.places], output.last_hidden_state
        change = sum(adapter(taken, last.float()) for adapter in self.adapters)
        output.last_hidden_state = last + change.to(last.dtype)
        return output
