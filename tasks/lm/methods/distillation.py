"""Knowledge distillation from the model before the slice (Hinton et al. 2015, arXiv 1503.02531, section 2).

The teacher is a frozen copy of it; what is frozen already, as under an adapter that is named before this method, it
shares with the model. The usual place is on replayed rows, whose answers it knows.
"""

import copy
from pathlib import Path
from typing import final

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.batches import Batch, rows_of
from tasks.lm.logits import answer_logits
from tasks.lm.methods.method import Method
from tasks.method_params import Distillation as DistillationSettings


@final
class Distillation(Method):
    """Adds weight * T^2 * KL(teacher || student), both softened by the temperature T, at answer places.

    KL(teacher || student) = sum_v p_v (log p_v - log q_v), p being the teacher's softmax(z / T) and q the student's.
    T^2 keeps its gradient about as large at any T. It is summed over the places concerned and divided by the number
    of all places of the batch (their mean, times their share), so that with weight 1 such a place counts as much
    as it does in the mean cross-entropy over all places.
    """

    def __init__(self, settings: DistillationSettings, seed: int):
        self.settings = settings
        self.teacher: PreTrainedModel | None = None

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        if self.seen.knows:
            shared = {id(value): value for value in model.parameters() if not value.requires_grad}
            self.teacher = copy.deepcopy(model, shared).eval().requires_grad_(False)  # type: ignore[arg-type]
        return model

    def penalty(self, model: PreTrainedModel, batch: Batch, logits: Tensor) -> Tensor | float:
        parts = {"replayed": batch.parts > 0, "fresh": batch.parts == 0, "all": batch.parts >= 0}
        rows = parts[self.settings.rows]
        if self.teacher is None or not rows.any():
            return 0.0
        chosen = rows_of(batch, rows)
        student = logits[batch.by_place(rows)]
        with torch.no_grad():
            teacher = answer_logits(self.teacher, chosen)
        if self.settings.correct_only:
            right = teacher.argmax(-1) == chosen.labels
            student, teacher = student[right], teacher[right]
        divergence = softened_kl(teacher, student, self.settings.temperature)
        return self.settings.weight * self.settings.temperature**2 * divergence / len(batch.labels)


def softened_kl(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) at a temperature, summed over places, in nats; both are logits [places, vocabulary]."""
    given, learnt = (functional.log_softmax(logits / temperature, dim=-1) for logits in (teacher, student))
    return functional.kl_div(learnt, given, reduction="sum", log_target=True)
