"""LoRA: W + s B A, and only A and B are trained (Hu et al. 2022, arXiv 2106.09685, eq. 3), through peft.

s is alpha / rank, or alpha / sqrt(rank) with rslora (Kalajdzievski 2023, arXiv 2312.03732). With dora, the
magnitude of each output's weights is trained apart from their direction (Liu et al. 2024, arXiv 2402.09353, eq. 5).
"""

import shutil
from pathlib import Path
from typing import Any, final

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer, LoraModel
from peft.tuners.tuners_utils import cast_adapter_dtype
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from tasks.errors import BadInput, reason_of
from tasks.lm.adapters import plain
from tasks.lm.batches import Mixture
from tasks.lm.causal import untie
from tasks.lm.frozen_base import narrow, widen
from tasks.lm.logits import head_of
from tasks.lm.methods.method import Method
from tasks.method_params import LoRA as LoRASettings

ADAPTERS = "adapters"  # one file per slice, 1.safetensors and so on
NAME = "default"  # of the one adapter that a slice trains, within peft


@final
class LoRA(Method):
    """Trains one adapter per slice and merges it into the weights at the end."""

    def __init__(self, settings: LoRASettings, seed: int):
        self.settings = settings
        self.seed = seed

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        config = LoraConfig(
            r=self.settings.rank,
            lora_alpha=self.settings.alpha,
            lora_dropout=self.settings.dropout,
            target_modules=target_modules(self.settings.target_modules),
            use_rslora=self.settings.rslora,
            use_dora=self.settings.dora,
            init_lora_weights="gaussian" if self.settings.initial == "gaussian" else True,
        )
        self.tuner = inject(model, config, self.seed)
        self.earlier = previous / "method" / ADAPTERS
        if self.settings.train_head:
            untie(model)  # a tied head is the input embedding, too: it would be trained as well
            head_of(model).requires_grad_(True)
        self.base = previous
        if self.settings.base == "bfloat16":
            narrow(model)
        return model

    def before_update(self, model: PreTrainedModel, step: int, rate: float) -> float:
        return rate * self.settings.learning_rate_factor

    def end(self, model: PreTrainedModel, data: Mixture, out: Path) -> PreTrainedModel:
        if self.settings.keep == "apart":
            save_apart(model, self.earlier, out / ADAPTERS)
        if self.settings.base == "bfloat16":
            widen(model, self.base)
        return merge(model, self.tuner)


def target_modules(names: tuple[str, ...] | str | None) -> list[str] | str | None:
    """As peft takes them: a tuple would count as one name."""
    return list(names) if isinstance(names, tuple) else names


def inject(model: PreTrainedModel, config: LoraConfig, seed: int) -> LoraModel:
    """Put LoRA layers into the model, in place, and freeze everything else.

    Raises:
        BadInput: there are no such layers, or they are not only within the blocks.
    """
    model.requires_grad_(False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            tuner = LoraModel(plain(model), config, NAME)
        except ValueError as error:
            reason = reason_of(error)
            raise BadInput(f"LoRA finds no layers to adapt: {reason}. Mend target_modules in params.yaml.") from error
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        if isinstance(module, LoraLayer):
            raise BadInput("LoRA adapts layers within the blocks only: take the embeddings out of target_modules.")
    cast_adapter_dtype(plain(model), NAME)  # float32, whatever the frozen weights have
    return tuner


def layers_of(model: PreTrainedModel) -> dict[str, Any]:
    """The LoRA layers by the name of the layer that they adapt."""
    return {name: module for name, module in plain(model).named_modules() if isinstance(module, LoraLayer)}


def merge(model: PreTrainedModel, tuner: LoraModel) -> PreTrainedModel:
    """Merge the adapter into the weights, in place; everything can be trained again."""
    tuner.merge_and_unload()
    return model.requires_grad_(True)


def save_apart(model: PreTrainedModel, earlier: Path, folder: Path) -> None:
    """Save the slice's change next to those of earlier slices: A, and B with the scale in it."""
    if earlier.exists():
        shutil.copytree(earlier, folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for name, layer in layers_of(model).items():
        tensors[f"{name}.A"] = layer.lora_A[NAME].weight.detach()
        tensors[f"{name}.B"] = layer.scaling[NAME] * layer.lora_B[NAME].weight.detach()
    number = 1 + len(list(folder.glob("*.safetensors")))
    save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, folder / f"{number}.safetensors")


@torch.no_grad()
def add_slice(model: PreTrainedModel, adapter: Path, factor: float) -> None:
    """Add `factor` times a slice's change, which was kept apart, to a model's weights: -1 takes the slice out."""
    tensors = load_file(adapter)
    for name in sorted({name.rpartition(".")[0] for name in tensors}):
        layer: Any = plain(model).get_submodule(name)
        change = (factor * tensors[f"{name}.B"] @ tensors[f"{name}.A"]).to(layer.weight.device)
        layer.weight.add_(change.T if isinstance(layer, Conv1D) else change)
