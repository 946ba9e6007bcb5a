"""A head over a frozen encoder: how a model that was pretrained elsewhere learns which memory a message asks for.

The encoder itself stays as it is, and goes on telling which passages of documents are alike. What is trained are two
matrices over its states: of its last layer and of every second one below it, three in all, each the mean over a text's
tokens (Reimers & Gurevych 2019, section 3) at unit length. The lower ones help: what a message asks for is not what it
says.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tasks.errors import BadInput
from tasks.retrieval.prompts import prompt_of
from tasks.retrieval.rankers import Dense

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

HEAD = "head.safetensors"
LAYERS = 3
HIDDEN = 1024
SPREAD = 5.0  # times the states less their mean: of unit vectors that all lie near it
BATCH = 64  # texts that are read at once


class Head(nn.Module):
    """unit(W2 gelu(W1 (5 (s - mean)))), of states s: [texts, layers * width] to [texts, width]."""

    mean: Tensor

    def __init__(self, mean: Tensor, width: int, hidden: int = HIDDEN):
        super().__init__()
        self.register_buffer("mean", mean)
        self.first, self.second = nn.Linear(len(mean), hidden), nn.Linear(hidden, width)

    def forward(self, states: Tensor) -> Tensor:
        inner = nn.functional.gelu(self.first((states - self.mean) * SPREAD))
        return nn.functional.normalize(self.second(inner), dim=-1)


class Headed(Dense):
    """Cosine of the head's vectors."""

    def __init__(self, encoder: "SentenceTransformer", head: Head):
        super().__init__(encoder)
        self.head = head

    def _encoded(self, texts: list[str], task: str) -> np.ndarray:
        prompt = prompt_of(self.encoder, task)
        states = states_of(self.encoder, [prompt + text for text in texts])
        with torch.inference_mode():
            vectors: np.ndarray = self.head(torch.from_numpy(states)).numpy()
        return vectors


def states_of(encoder: "SentenceTransformer", texts: Sequence[str]) -> np.ndarray:
    """What a head reads of texts, their prompts before them: [texts, layers * width].

    Raises:
        BadInput: the encoder has no layers.
    """
    reader: Any = encoder[0]
    model = getattr(reader, "auto_model", None)
    if model is None:
        raise BadInput("encoder.frozen is for an encoder that has layers, and encoder.model has none: set it to false.")
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))  # so that little of a batch is padding
    found: dict[int, np.ndarray] = {}
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        with torch.inference_mode():
            tokens = reader.preprocess([texts[place] for place in places])
            tokens = {name: each.to(encoder.device) for name, each in tokens.items() if isinstance(each, Tensor)}
            layers = model(**tokens, output_hidden_states=True).hidden_states[1:][::-2][:LAYERS]
            mask = tokens["attention_mask"][..., None]
            means = [nn.functional.normalize((each * mask).sum(1), dim=-1) for each in layers]
        found.update(zip(places, torch.cat(means, -1).float().cpu().numpy(), strict=True))
    return np.stack([found[place] for place in range(len(texts))])


def save_head(head: Head, folder: Path) -> None:
    save_file({name: each.contiguous() for name, each in head.state_dict().items()}, folder / HEAD)


def load_head(folder: Path) -> Head | None:
    """A retriever's head; None if its encoder was trained itself."""
    if not (folder / HEAD).is_file():
        return None
    weights = load_file(folder / HEAD)
    width, hidden = weights["second.weight"].shape
    head = Head(weights["mean"], width, hidden)
    head.load_state_dict(weights)
    return head.eval()
