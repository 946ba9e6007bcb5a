"""Hidden states, and the one place where they become logits, as a model's own forward pass makes them.

Between the head and the logits some architectures scale or cap. Whatever trains or scores goes through `logits_of`,
and what it says of a model that comes from outside is compared with the model's own logits when it is loaded.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.errors import BadInput
from tasks.lm.adapters import plain
from tasks.lm.batches import Batch
from tasks.lm.soft_prompts import prompted_states
from tasks.params import Precision

COMPUTED_IN = {"cuda": torch.bfloat16}  # by the kind of device, where it is not float32
MOST_LOGITS = 2**26  # of a chunk of places: 256 MiB in float32, and about as much again for their softmax
MOST_SCORED = 2**25  # where no gradient is taken, and the chunk before is still there


def _divided(config: Any) -> float:
    return 1 / float(config.logits_scaling)


# By the text model's type: what its forward pass multiplies the head's output by.
SCALES: dict[str, Callable[[Any], float]] = {
    "cohere": lambda config: config.logit_scale,
    "cohere2": lambda config: config.logit_scale,
    "cohere2_moe": lambda config: config.logit_scale,
    "cohere_compass_text": lambda config: config.logit_scale,
    "falcon_h1": lambda config: config.lm_head_multiplier,
    "granite": _divided,
    "granite4_vision_text": _divided,
    "granite_docling_text": _divided,
    "granite_swa": _divided,
    "granitemoe": _divided,
    "granitemoe_swa": _divided,
    "granitemoehybrid": _divided,
    "granitemoeshared": _divided,
    "hyperclovax": lambda config: config.logits_scaling,
    "minicpm3": _divided,  # of the hidden states: the same, as its head has no bias
}
# Names under which configs have a cap: logits z become cap * tanh(z / cap) (Gemma 2, arXiv 2408.00118, section 2).
CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")


def head_of(model: PreTrainedModel) -> nn.Linear:
    """The LM head.

    Raises:
        BadInput: it is no plain linear layer that can be applied, and trained, apart from the backbone.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise BadInput(
            f"The LM head of a {type(plain(model)).__name__} is {_in_words(head)}, where a plain linear layer is "
            "needed. Choose another model, merge its adapter first, or adapt layers within the blocks only."
        )
    return head


def _in_words(head: Any) -> str:
    return "missing" if head is None else f"a {type(head).__module__.partition('.')[0]} {type(head).__name__}"


def compute_in(kind: Precision) -> None:
    """Let this process compute matrix products so on a CPU; on a GPU it is always bfloat16."""
    COMPUTED_IN["cpu"] = getattr(torch, kind)


def precision(device: torch.device) -> AbstractContextManager[Any]:
    """How matrix products of models are computed here.

    The weights themselves are float32 everywhere: next to a weight of bfloat16 most updates are too small to count.
    """
    kind = COMPUTED_IN.get(device.type, torch.float32)
    return nullcontext() if kind == torch.float32 else torch.autocast(device.type, dtype=kind)


@contextmanager
def exactly() -> Iterator[None]:
    """Compute in float32 within, whatever was asked for."""
    asked = dict(COMPUTED_IN)
    COMPUTED_IN.clear()
    try:
        yield
    finally:
        COMPUTED_IN.update(asked)


def hidden_states(model: PreTrainedModel, ids: Tensor, embeddings: Tensor | None = None) -> Tensor:
    """The backbone's last hidden states: [rows, length] token ids -> [rows, length, width].

    Rows are padded on the right; under causal attention no real position sees the padding, so no mask is needed.
    `embeddings`, [rows, length, width], stand in for the tokens' own.
    """
    with precision(ids.device):
        if isinstance(model, PeftModel):
            return prompted_states(model, ids, embeddings)
        if embeddings is not None:
            return model.base_model(inputs_embeds=embeddings, use_cache=False).last_hidden_state
        return model.base_model(input_ids=ids, use_cache=False).last_hidden_state


def logits_of(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """The logits of hidden states, [..., width] -> [..., vocabulary], in float32."""
    head, config = head_of(model), plain(model).config.get_text_config()
    with precision(hidden.device):
        logits = head(hidden.to(head.weight.dtype)).float()
    scale = SCALES[config.model_type](config) if config.model_type in SCALES else None
    if scale is not None and scale != 1.0:
        logits = logits * scale
    for cap in filter(None, (getattr(config, name, None) for name in CAPS)):
        logits = cap * torch.tanh(logits / cap)
    return logits


def answer_logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    """The logits for a batch's labels, [places, vocabulary], in float32; at those places only."""
    return logits_of(model, hidden_states(model, batch.ids)[batch.predicts])


def logits_in_chunks(model: PreTrainedModel, batch: Batch, most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """As `answer_logits`, but at most `most` logits at a time, each chunk with its labels.

    With 256,000 words, 8,192 places at once would take 8 GB, and their softmax as much again.
    """
    for part, labels in _chunks(model, hidden_states(model, batch.ids)[batch.predicts], batch.labels, most):
        yield logits_of(model, part), labels


def _chunks(model: PreTrainedModel, hidden: Tensor, labels: Tensor, most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Hidden states, [places, width], and their labels, in parts of which the logits are at most so many."""
    places = max(1, most // head_of(model).out_features)
    return zip(hidden.split(places), labels.split(places), strict=True)


def learn(
    model: PreTrainedModel, hidden: Tensor, labels: Tensor, share: float = 1.0, most: int = MOST_LOGITS
) -> Tensor:
    """Add to all gradients those of `share` times the labels' mean cross-entropy; return that mean, in nats.

    Of the logits at most `most` are held at a time: each chunk's gradients are taken before the next one's logits are
    made. (torch's own linear_cross_entropy knows no cap and no scale behind the head.)

    Args:
        model: whose head makes logits of them.
        hidden: [places, width]; where it has a graph, the gradients go on into the backbone.
        labels: [places], the tokens that the places must predict.
    """
    states = hidden.detach().requires_grad_(hidden.requires_grad)
    mean = torch.zeros((), device=hidden.device)
    for part, own in _chunks(model, states, labels, most):
        loss = nn.functional.cross_entropy(logits_of(model, part), own) * (len(own) / len(labels))
        (share * loss).backward()  # type: ignore[no-untyped-call]
        mean += loss.detach()
    if hidden.requires_grad:
        hidden.backward(states.grad)
    return mean


@torch.no_grad()
def token_losses(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Of each label, [places]: its cross-entropy in nats, and whether it is the likeliest token."""
    losses, right = [], []
    for logits, labels in logits_in_chunks(model, batch, MOST_SCORED):
        losses.append(nn.functional.cross_entropy(logits, labels, reduction="none"))
        right.append(logits.argmax(-1) == labels)
    return torch.cat(losses), torch.cat(right)
