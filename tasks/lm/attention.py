"""Attention in training on a CPU, where other products are bfloat16: in float32, which is quicker there.

torch's way back through attention in bfloat16 takes a CPU four to five times as long as in float32 (docs/models.md has
the figures); the way forward takes as long.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **given: Any
) -> tuple[Tensor, None]:
    """As transformers' own "sdpa" does, of [rows, heads, length, width]."""
    kind = query.dtype
    if not (query.device.type == "cpu" and query.requires_grad and torch.is_autocast_enabled("cpu")):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **given)
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    with torch.autocast("cpu", enabled=False):
        each = (query.float(), key.float(), value.float())
        attended, weights = sdpa_attention_forward(module, *each, attention_mask, **given)
    return attended.to(kind), weights


ALL_ATTENTION_FUNCTIONS.register("sdpa", attend)
