"""Finds the transformer blocks of a causal LM, whatever its architecture calls them."""

from torch import nn
from transformers import PreTrainedModel

from tasks.errors import BadInput


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
