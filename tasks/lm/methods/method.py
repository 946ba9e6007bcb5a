"""What a method may do, at four moments of a slice. A method overrides what it needs, and only once."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.lm.batches import Batch, Mixture

Row = dict[str, Any]
Shares = list[tuple[list[Row], float]]


class Method:
    """Does nothing at all: naive fine-tuning."""

    def begin(self, model: PreTrainedModel, previous: Path) -> PreTrainedModel:
        """Before training: load what the slice before left in `previous`/method, wrap or freeze the model."""
        return model

    def examples(self, shares: Shares, older: list[Row]) -> Shares:
        """What to train on: rows with their share of every batch; `older` is what is still true of older slices."""
        return shares

    def penalty(self, model: nn.Module, batch: Batch) -> Tensor | float:
        """What to add to a step's loss."""
        return 0.0

    def end(self, model: PreTrainedModel, data: Mixture, out: Path) -> PreTrainedModel:
        """After training: save into `out` what the next slice needs, unwrap the model."""
        return model
