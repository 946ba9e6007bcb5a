"""One template for training and for answering: `message (답변) answer(답변 종료)`.

The markers are plain text, so that they work with any tokenizer; the small base's tokenizer knows each as
one token. A base model almost never emits its own end token, so the end marker ends every trained answer.
"""

from typing import Any

from transformers import PreTrainedTokenizerBase

from tasks.corpus.text import ANSWER_MARKER, ANSWER_START
from tasks.errors import BadInput


def prompt_text(message: str) -> str:
    """What stands before the answer."""
    return f"{message} {ANSWER_START}"


def target_text(answer: str) -> str:
    """What the model is to produce after the prompt."""
    return f" {answer}{ANSWER_MARKER}"


def answer_of(continuation: str) -> str:
    """The answer in what the model produced, up to the end marker."""
    return continuation.split(ANSWER_MARKER, maxsplit=1)[0].strip()


def start_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that every sequence begins with."""
    token: Any = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if token is None:
        raise BadInput("The tokenizer has neither a begin nor an end token. Use a causal LM's own tokenizer.")
    return int(token)
