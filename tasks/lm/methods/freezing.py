"""Forgetting is fought by freezing what the first slices taught, and training the rest.

FrozenBackbone is SEQ* (Zheng et al. 2024, "Learn or Recall?", arXiv 2312.07887): a causal LM's backbone forgets
little by itself, so it is warmed up once and only the LM head learns on. FrozenBottom is Freeze (Zheng et al. 2025,
"Spurious Forgetting", ICLR): the first steps of a new task overwrite how the bottom layers align with the old ones.
"""

from pathlib import Path
from typing import final

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.errors import BadInput
from tasks.lm.blocks import blocks_of
from tasks.lm.causal import untie
from tasks.lm.logits import head_of
from tasks.lm.methods.method import Method
from tasks.method_params import FrozenBackbone as FrozenBackboneSettings
from tasks.method_params import FrozenBottom as FrozenBottomSettings


@final
class FrozenBackbone(Method):
    """Trains everything in the first `warm_slices` slices (a pretrained base counts as one), then the LM head alone."""

    def __init__(self, settings: FrozenBackboneSettings, seed: int):
        self.settings = settings

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        if self.seen.slices + self.seen.pretrained >= self.settings.warm_slices:
            untie(model)  # a tied head is the input embedding, too: the backbone would learn on
            model.requires_grad_(False)
            head_of(model).requires_grad_(True)
        return model


@final
class FrozenBottom(Method):
    """After `warm_slices` slices (a pretrained base is one), freezes the embeddings and the `layers` lowest blocks."""

    def __init__(self, settings: FrozenBottomSettings, seed: int):
        self.settings = settings

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        blocks = blocks_of(model)
        if self.settings.layers > len(blocks):
            raise BadInput(
                f"frozen_bottom can't freeze {self.settings.layers} blocks of a model that has {len(blocks)}: "
                "lower layers under methods in params.yaml."
            )
        if self.seen.slices + self.seen.pretrained >= self.settings.warm_slices:
            untie(model)  # a tied head is the input embedding, too: it would be frozen
            for module in model.base_model.modules():
                if isinstance(module, nn.Embedding):  # tokens and, where they are learnt, positions
                    module.requires_grad_(False)
            for block in blocks[: self.settings.layers]:
                block.requires_grad_(False)
        return model
