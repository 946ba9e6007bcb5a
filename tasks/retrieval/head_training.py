"""Trains the head over a frozen encoder's states: to rank a batch's memories for each message."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tasks.corpus.cartesian import memory_text
from tasks.corpus.topics import TopicLine
from tasks.params import Retriever
from tasks.retrieval.head import Head, states_of
from tasks.retrieval.prompts import DOCUMENT, QUERY, prompt_of
from tasks.retrieval.training import group_ranking
from tasks.steps import Log

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

STATES = "states.safetensors"
TEMPERATURE = 0.15  # at 0.07, which the small encoder is trained at, fewer memories were found
WEIGHT_DECAY = 0.01
LOG_EVERY = 50  # steps
States = Mapping[str, np.ndarray]  # of a text with its prompt: [layers * width]


def known_states(encoder: "SentenceTransformer", lines: Sequence[TopicLine]) -> dict[str, np.ndarray]:
    """The states of all messages and memories of lines."""
    texts = _texts(encoder, lines)
    return dict(zip(texts, states_of(encoder, texts), strict=True)) if texts else {}


def save_states(encoder: "SentenceTransformer", lines: Sequence[TopicLine], folder: Path) -> None:
    """Write the states of lines, in half precision: what a head is trained on."""
    states = known_states(encoder, lines)
    save_file({"states": torch.from_numpy(np.stack(list(states.values()))).half()}, folder / STATES)


def load_states(encoder: "SentenceTransformer", lines: Sequence[TopicLine], folder: Path) -> dict[str, np.ndarray]:
    """The states that were written for the same lines."""
    states = load_file(folder / STATES)["states"].float().numpy()
    return dict(zip(_texts(encoder, lines), states, strict=True))


def trained_head(
    encoder: "SentenceTransformer",
    settings: Retriever,
    seed: int,
    log: Log,
    parts: Sequence[Sequence[TopicLine]],
    states: States,
) -> Head:
    """A head that ranks a batch's memories for each message, and its messages for each memory: see GroupRanking.

    Args:
        settings: steps, batch size, learning rate and warmup; the rate falls to zero in the end.
        parts: the slices' lines, and the topics'; a batch has as many of each.
        states: of all their texts.
    """
    generator = torch.Generator().manual_seed(seed)
    places = np.random.default_rng(seed)
    parts = [part for part in parts if part]
    query, document = prompt_of(encoder, QUERY), prompt_of(encoder, DOCUMENT)
    names = {group: place for place, group in enumerate(sorted({line.group for part in parts for line in part}))}
    data = [
        (
            _stacked(states, [query + line.message for line in part]),
            _stacked(states, [document + memory_text(line) for line in part]),
            torch.tensor([names[line.group] for line in part]),
        )
        for part in parts
    ]
    mean = torch.cat([side.mean(0, keepdim=True) for messages, memories, _ in data for side in (messages, memories)])
    head = Head(mean.mean(0), encoder.get_embedding_dimension() or mean.shape[1])
    for weight in (head.first, head.second):
        nn.init.xavier_uniform_(weight.weight, generator=generator)
        nn.init.zeros_(weight.bias)
    optimizer = torch.optim.AdamW(head.parameters(), lr=settings.learning_rate, weight_decay=WEIGHT_DECAY)
    warm = max(1, round(settings.steps * settings.warmup))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / warm) * (1 - step / settings.steps)
    )
    for step in range(1, settings.steps + 1):
        batch = [_drawn(part, settings.batch_size // len(data), places) for part in data]
        messages, memories, groups = (torch.cat([part[side] for part in batch]) for side in range(3))
        loss = group_ranking(head(messages), head(memories), groups, TEMPERATURE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % LOG_EVERY == 0 or step == settings.steps:
            log(step, {"loss": loss.item(), "learning_rate": float(schedule.get_last_lr()[0])})
        schedule.step()
    return head.eval()


def _texts(encoder: "SentenceTransformer", lines: Sequence[TopicLine]) -> list[str]:
    query, document = prompt_of(encoder, QUERY), prompt_of(encoder, DOCUMENT)
    return sorted({text for line in lines for text in (query + line.message, document + memory_text(line))})


def _stacked(states: States, texts: Sequence[str]) -> Tensor:
    return torch.from_numpy(np.stack([states[text] for text in texts]))


def _drawn(part: Sequence[Tensor], rows: int, places: np.random.Generator) -> list[Tensor]:
    """Some of a part's rows, each once where there are enough."""
    chosen = torch.from_numpy(places.choice(len(part[0]), rows, replace=rows > len(part[0])))
    return [side[chosen] for side in part]
