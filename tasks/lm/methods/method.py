"""What a method may do, at seven moments of a slice. A method overrides what it needs, and only that."""

from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.corpus.slices import Row
from tasks.lm.batches import Batch, Mixture
from tasks.lm.methods.seen import Seen
from tasks.lm.shares import Share, Shares  # noqa: F401 (a method's file takes all that it is made of from here)


class Method:
    """Does nothing at all: naive fine-tuning.

    Stage 1 calls the hooks in the order in which they stand here. Lists of methods are gone through in their
    order, and at the end in reverse. A resumed run calls `begin` and `examples` again: they depend on the seed alone.
    """

    steps = 0  # of this slice; stage 1 sets this and what follows
    seen = Seen()  # what the model before this slice has learnt
    keepable: list[Row] = []  # from the end of training on: the rows that the next slice will have as older ones

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        """Before training: load what the slice before left in `previous`/method, wrap or freeze the model."""
        return model

    def examples(self, shares: Shares, older: list[Row]) -> Shares:
        """What to train on: first the slice's own rows; `older` is what may be used of older slices."""
        return shares

    def state(self) -> dict[str, Tensor]:
        """Tensors that change while training: a checkpoint saves them, and puts them back in place."""
        return {}

    def penalty(self, model: PreTrainedModel, batch: Batch, logits: Tensor) -> Tensor | float:
        """What to add to a step's loss; `logits`, [places, vocabulary], are the model's for `batch.labels`.

        With stage1.accumulate it is asked once for each part of a batch, and weighed by the part's share of all places.
        """
        return 0.0

    @classmethod
    def adds_to_loss(cls) -> bool:
        """Whether it has a penalty: then all logits of a batch, or of a part of it, are there at once."""
        return cls.penalty is not Method.penalty

    def before_update(self, model: PreTrainedModel, step: int, rate: float) -> float:
        """After the gradients are clipped: may change them, or the weights; returns the learning rate to use."""
        return rate

    def after_update(self, model: PreTrainedModel, step: int) -> None:
        """After the optimizer's step."""

    def end(self, model: PreTrainedModel, data: Mixture, out: Path) -> PreTrainedModel:
        """After training: save into the folder `out` what the next slice needs; return the model to keep."""
        return model
