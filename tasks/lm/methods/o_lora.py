"""O-LoRA: each slice's LoRA learns in directions orthogonal to those of earlier slices.

Wang et al. 2023, "Orthogonal Subspace Learning for Language Model Continual Learning" (arXiv 2310.14152): the loss
gets strength * sum_i L_orth(A_i, A_t), where L_orth(A_i, A_t) is the sum of the squares of all inner products between
the rows of A_i and those of A_t, over all adapted layers. A's rows span what an adapter reads from its input.
"""

from pathlib import Path
from typing import final

import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.errors import BadInput
from tasks.lm.batches import Batch, Mixture
from tasks.lm.methods.lora import NAME, inject, layers_of, merge, target_modules
from tasks.lm.methods.method import Method
from tasks.method_params import OLoRA as OLoRASettings

EARLIER = "o_lora.safetensors"  # per layer, the rows of all A so far: [slices * rank, inputs]


@final
class OLoRA(Method):
    """Trains one adapter per slice, merges it, and keeps its A for the slices to come."""

    def __init__(self, settings: OLoRASettings, seed: int):
        self.settings = settings
        self.seed = seed
        self.earlier: dict[str, Tensor] = {}

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        path = previous / "method" / EARLIER
        if path.exists():  # the first slice has none
            self.earlier = {name: value.to(model.device) for name, value in load_file(path).items()}
        config = LoraConfig(
            r=self.settings.rank,
            lora_alpha=self.settings.alpha,
            lora_dropout=self.settings.dropout,
            target_modules=target_modules(self.settings.target_modules),
        )
        # another seed for every slice: the same start would be as far from orthogonal as can be
        learnt = max((len(rows) for rows in self.earlier.values()), default=0)
        self.tuner = inject(model, config, self.seed + learnt)
        self.rows: dict[str, Tensor] = {name: layer.lora_A[NAME].weight for name, layer in layers_of(model).items()}
        if self.earlier and self.earlier.keys() != self.rows.keys():
            raise BadInput("o_lora must adapt the same layers in every slice: leave its target_modules as they were.")
        return model

    def penalty(self, model: PreTrainedModel, batch: Batch, logits: Tensor) -> Tensor | float:
        if not self.earlier:
            return 0.0
        return self.settings.strength * overlap(self.rows, self.earlier)

    def before_update(self, model: PreTrainedModel, step: int, rate: float) -> float:
        return rate * self.settings.learning_rate_factor

    def end(self, model: PreTrainedModel, data: Mixture, out: Path) -> PreTrainedModel:
        out.mkdir(exist_ok=True)
        learnt = {name: rows.detach() for name, rows in self.rows.items()}
        if self.earlier:
            learnt = {name: torch.cat([self.earlier[name], rows]) for name, rows in learnt.items()}
        save_file({name: rows.cpu().contiguous() for name, rows in learnt.items()}, out / EARLIER)
        return merge(model, self.tuner)


def overlap(rows: dict[str, Tensor], earlier: dict[str, Tensor]) -> Tensor:
    """The sum of squared inner products between these rows and the earlier ones, over all layers."""
    return torch.stack([(earlier[name] @ value.T).square().sum() for name, value in rows.items()]).sum()
