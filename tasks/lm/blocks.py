"""The transformer blocks of a causal LM, whatever its architecture calls them: found, and computed twice."""

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from tasks.errors import BadInput, reason_of
from tasks.lm.soft_prompts import has_prefix


def blocks_of(model: PreTrainedModel) -> nn.ModuleList:
    """The transformer blocks, from the bottom up: the backbone's one list of modules that lies in no other.

    Raises:
        BadInput: there is no such list, or more than one.
    """
    lists = {name: each for name, each in model.base_model.named_modules() if isinstance(each, nn.ModuleList)}
    outer = [each for name, each in lists.items() if not any(name.startswith(f"{other}.") for other in lists)]
    if len(outer) != 1:
        raise BadInput(
            f"The blocks of a {type(model).__name__} can't be told: its backbone has {len(outer)} lists of modules "
            "instead of one. Choose another method, or another model."
        )
    return outer[0]


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Keep only each block's input for the way back, and compute the block once more there: the gradients are the same.

    (Chen et al. 2016, arXiv 1604.06174, section 4.)

    Raises:
        BadInput: the architecture can't.
    """
    if has_prefix(model):
        raise BadInput(
            "The model has a prefix, from prefix_tuning, with which blocks can't be computed again. Set "
            "stage1.activation_checkpointing to false in params.yaml."
        )
    try:
        backbone: Any = model.base_model
        backbone.activation_checkpointing_enable({"use_reentrant": False})
    except ValueError as error:
        raise BadInput(
            f"The activations of a {type(model).__name__} can't be computed again ({reason_of(error)}). Set "
            "stage1.activation_checkpointing to false in params.yaml."
        ) from error
