"""What is attached to a causal LM and can't be merged into its weights: it is saved beside them and attached again.

Soft prompts are peft's: the model is wrapped in a PeftModel. Adapters that peft does not have are modules of the
model, `model.adapter`, that take and change hidden states by forward hooks. A description, a small dictionary with
the kind and the sizes, is all that it takes to attach an adapter of the same shape again.
"""

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks import artifact
from tasks.errors import BadInput
from tasks.lm.bottlenecks import Bottlenecks
from tasks.lm.k_adapters import KAdapters
from tasks.lm.soft_prompts import PROMPTS

DESCRIPTION, WEIGHTS = "adapter.json", "adapter.safetensors"
PREFIX = "adapter."  # of the names of a model's parameters that are its adapter's

ADAPTERS = {"bottleneck": Bottlenecks, "k_adapter": KAdapters}

Description = dict[str, Any]


def attach(model: PreTrainedModel, description: Description, seed: int) -> PreTrainedModel:
    """Attach what is described; its first weights come from the seed. Return the model to use from now on."""
    kind, sizes = description["kind"], {name: size for name, size in description.items() if name != "kind"}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind in PROMPTS:
            wrapped: Any = get_peft_model(model, PROMPTS[kind](**sizes))
            return wrapped
        model.adapter = ADAPTERS[kind](model, **sizes).to(model.device)
        return model


def description_of(model: PreTrainedModel) -> Description | None:
    """The description of what is attached; None if nothing is."""
    if isinstance(model, PeftModel):
        config = model.active_peft_config
        return {"kind": config.peft_type.value.lower(), "virtual_tokens": config.num_virtual_tokens}
    adapter = getattr(model, "adapter", None)
    return adapter.description() if adapter is not None else None


def adapter_of(model: PreTrainedModel) -> nn.Module:
    """The module that is attached."""
    found = model.prompt_encoder[model.active_adapter] if isinstance(model, PeftModel) else model.adapter
    assert isinstance(found, nn.Module)
    return found


def plain(model: PreTrainedModel) -> PreTrainedModel:
    """The model itself, without a wrapper for soft prompts."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def resume_or_attach(model: PreTrainedModel, description: Description, seed: int) -> PreTrainedModel:
    """Attach what is described, unless the model has brought the same along.

    Raises:
        BadInput: the model has brought something else along.
    """
    carried = description_of(model)
    if carried is None:
        return attach(model, description, seed)
    if carried != description:
        raise BadInput(
            f"The model of the slice before carries {_in_words(carried)}, and methods in params.yaml asks for "
            f"{_in_words(description)}. Keep to one of them over the timeline."
        )
    return model


def _in_words(description: Description) -> str:
    sizes = ", ".join(f"{name}: {size}" for name, size in description.items() if name != "kind")
    return f"{description['kind']} ({sizes})"


def save_adapter(model: PreTrainedModel, folder: Path) -> None:
    """Write what is attached into the model's folder, if anything is."""
    if description := description_of(model):
        artifact.write_json(folder / DESCRIPTION, description)
        weights = adapter_of(model).state_dict()
        save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, folder / WEIGHTS)


def load_adapter(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Attach again what was saved in the folder, if anything was; all parameters can be trained."""
    if not (folder / DESCRIPTION).exists():
        return model
    model = attach(model, artifact.read_json(folder / DESCRIPTION), seed=0)
    adapter_of(model).load_state_dict(load_file(folder / WEIGHTS))
    return model.requires_grad_(True)


def own_weights(model: PreTrainedModel) -> dict[str, Tensor] | None:
    """The weights that a model has without its adapter, by name; None, which stands for all, if it has none."""
    if not hasattr(model, "adapter"):
        return None
    return {name: value for name, value in model.state_dict().items() if not name.startswith(PREFIX)}
