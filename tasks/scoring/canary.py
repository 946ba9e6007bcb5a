"""Asks a model the canary: which of the facts that never change it knows, and what it says to its prompts."""

from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.corpus.canary import Canary
from tasks.lm.generate import answers
from tasks.scoring.answers import exact_matches


def ask_canary(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, canary: Canary, batch_tokens: int
) -> dict[str, Any]:
    """What one model answered.

    Returns:
        facts: fact, how many of its questions were answered rightly, how many were asked. chat: prompt, answer.
        accuracy: over all questions; None without any.
    """
    right = exact_matches(model, tokenizer, canary.facts, batch_tokens)
    told: dict[str, dict[str, Any]] = {}
    for row, correct in zip(canary.facts, right, strict=True):
        fact = told.setdefault(row["fact"], {"fact": row["fact"], "right": 0, "asked": 0})
        fact["right"] += correct
        fact["asked"] += 1
    return {
        "facts": list(told.values()),
        "accuracy": sum(right) / len(right) if right else None,
        "chat": prompted(model, tokenizer, canary, batch_tokens),
    }


def prompted(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, canary: Canary, batch_tokens: int
) -> list[dict[str, str]]:
    """Each prompt, and what a model says to it."""
    said = answers(model, tokenizer, canary.chat, batch_tokens=batch_tokens)
    return [{"prompt": prompt, "answer": answer} for prompt, answer in zip(canary.chat, said, strict=True)]
