"""K-Adapter: the model is frozen, and each slice trains an adapter of its own beside it.

Wang et al. 2020 (arXiv 2002.01808, section 3), where each kind of knowledge has one. The cost of a forward pass
grows by one adapter with every slice; with `per_slice: false` one adapter is trained on.
"""

from pathlib import Path
from typing import Any, final

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.errors import BadInput
from tasks.lm.adapters import adapter_of, description_of, resume_or_attach
from tasks.lm.batches import Mixture
from tasks.lm.blocks import blocks_of
from tasks.lm.methods.method import Method
from tasks.method_params import KAdapter as KAdapterSettings


@final
class KAdapter(Method):
    """Trains the newest adapter alone; those of earlier slices stay as they are."""

    def __init__(self, settings: KAdapterSettings, seed: int):
        self.settings = settings
        self.seed = seed

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        carried = description_of(model)
        slices = carried.get("slices", 1) if carried else 1
        description = {
            "kind": "k_adapter",
            "width": self.settings.width,
            "layers": layers_to_take(self.settings.layers, len(blocks_of(model))),
            "slices": slices,
        }
        model = resume_or_attach(model, description, self.seed)
        attached: Any = adapter_of(model)
        if carried and self.settings.per_slice:
            with torch.random.fork_rng():
                torch.manual_seed(self.seed + slices)
                attached.add()
        model.requires_grad_(False)
        attached.adapters[-1].requires_grad_(True)
        return model

    def before_update(self, model: PreTrainedModel, step: int, rate: float) -> float:
        return rate * self.settings.learning_rate_factor

    def end(self, model: PreTrainedModel, data: Mixture, out: Path) -> PreTrainedModel:
        return model.requires_grad_(True)


def layers_to_take(chosen: tuple[int, ...], blocks: int) -> list[int]:
    """The blocks whose hidden states are taken, from 0; without a choice the bottom, the middle and the top one.

    Raises:
        BadInput: there is no such block.
    """
    if chosen and max(chosen) >= blocks:
        raise BadInput(
            f"k_adapter can't take block {max(chosen)} of a model that has {blocks}, counted from 0: "
            "mend layers under methods in params.yaml."
        )
    return sorted(set(chosen or (0, (blocks - 1) // 2, blocks - 1)))
