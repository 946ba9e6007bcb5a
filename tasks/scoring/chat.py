"""Everyday talk: whether a model still answers as the slices' chat.jsonl taught it, word for word."""

import hashlib

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.corpus.slices import Examples, Row
from tasks.scoring.answers import exact_matches


def ask_chat(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, slices: list[Examples], most: int, batch_tokens: int
) -> list[tuple[Row, bool]]:
    """Chat inputs, and whether each got exactly the output that was taught.

    Args:
        slices: all that the model has seen.
        most: inputs to ask at most, so that no slice costs more than another; the hash of an input decides which.
    """
    rows = sorted(taught(slices), key=lambda row: hashlib.sha256(row["prompt"].encode()).hexdigest())[:most]
    return list(zip(rows, exact_matches(model, tokenizer, rows, batch_tokens), strict=True))


def chat_accuracy(asked: list[tuple[Row, bool]]) -> float | None:
    """The share of chat inputs that get exactly the output that was taught; None where no slice has brought chat.

    These inputs were trained on: each stands alone in its kind, and no answer to another could be told from it.
    """
    return sum(right for _, right in asked) / len(asked) if asked else None


def taught(slices: list[Examples]) -> list[Row]:
    """One row per chat input; of several outputs to the same input the newest counts."""
    chat = [row for examples in slices for row in examples.train if row["kind"] == "chat"]
    return list({row["prompt"]: row for row in chat}.values())
