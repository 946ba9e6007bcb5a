"""Answers messages with the causal LM, by the template that it was trained with."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedModel, PreTrainedTokenizerBase, StoppingCriteria

from tasks.lm.batches import by_length
from tasks.lm.causal import limit_of
from tasks.lm.logits import precision
from tasks.lm.template import start_token, template_of, tokens_of

LONGEST = 64  # tokens of an answer
LONGEST_BEFORE = 512  # tokens of what stands before a message, however much room the model has
BATCH_TOKENS = 8192
BROKEN = "\ufffd"  # half a character


class Generated(NamedTuple):
    text: str  # up to the end marker or the end token
    ended: bool  # by one of them, and not by the limit


def answer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, message: str, max_new_tokens: int = LONGEST
) -> str:
    """The greedy answer, ended by the end marker or after `max_new_tokens` tokens.

    A message that is too long for the model loses its beginning, as in training.
    """
    return answers(model, tokenizer, [message], max_new_tokens)[0]


def answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    messages: list[str],
    max_new_tokens: int = LONGEST,
    batch_tokens: int = BATCH_TOKENS,
) -> list[str]:
    """The greedy answers to many messages, as texts."""
    return [said.text for said in all_generated(model, tokenizer, messages, max_new_tokens, batch_tokens)]


def all_generated(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    messages: list[str],
    max_new_tokens: int,
    batch_tokens: int,
) -> list[Generated]:
    """The greedy answers to many messages, decoded together, messages of like length in one batch.

    Half of what the model has room for is kept for the message, whatever `max_new_tokens` asks for.
    """
    max_new_tokens, prompts = prompts_of(model, tokenizer, messages, max_new_tokens)
    found: dict[int, Generated] = {}
    for run in by_length([len(prompt) + max_new_tokens for prompt in prompts], batch_tokens):
        made = continued(model, tokenizer, [prompts[index] for index in run], max_new_tokens)
        found |= dict(zip(run, made, strict=True))
    return [found[index] for index in range(len(messages))]


def fitting(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    contexts: list[str],
    message: str,
    max_new_tokens: int = LONGEST,
) -> list[str]:
    """Of contexts, the best first, those that have room before the message; the best is shortened rather than lost."""
    length = len(tokens_of(template_of(tokenizer).prompt(message), tokenizer))
    room = min(LONGEST_BEFORE, _room(model, _at_most(model, max_new_tokens)) - length)
    contexts_that_fit: list[str] = []
    for context in contexts:
        tokens = tokens_of(f"{context} ", tokenizer)
        if len(tokens) > room:
            beginning = str(tokenizer.decode(tokens[: max(0, room - 1)])).rstrip(BROKEN).rstrip()
            return contexts_that_fit or [beginning] * bool(beginning)
        contexts_that_fit.append(context)
        room -= len(tokens)
    return contexts_that_fit


def _at_most(model: PreTrainedModel, max_new_tokens: int) -> int:
    return min(max_new_tokens, limit_of(model) // 2)


def _room(model: PreTrainedModel, max_new_tokens: int) -> int:
    return limit_of(model) - max_new_tokens - 1


def prompts_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, messages: list[str], max_new_tokens: int
) -> tuple[int, list[list[int]]]:
    """How many tokens an answer may have, and the messages' prompts."""
    max_new_tokens = _at_most(model, max_new_tokens)
    texts = [template_of(tokenizer).prompt(message) for message in messages]
    tokens = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    return max_new_tokens, [[start_token(tokenizer), *each[-_room(model, max_new_tokens) :]] for each in tokens]


@torch.no_grad()
def continued(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    max_new_tokens: int,
    processor: LogitsProcessor | None = None,
) -> list[Generated]:
    """What follows each prompt. They are padded on the left, so that every answer begins at the same place; from
    the mask, generate counts each row's positions from its own first token on.
    """
    model.eval()
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else start_token(tokenizer)
    length = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[pad] * (length - len(prompt)) + prompt for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    with precision(model.device):
        made = model.generate(  # type: ignore[operator]
            ids,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            stopping_criteria=[EndMarker(tokenizer, length)],
            logits_processor=[processor] if processor else [],
            pad_token_id=pad,
        )
    ends = {tokenizer.eos_token_id, *_numbers(model.generation_config.eos_token_id)}  # type: ignore[union-attr]
    return [_generated(tokenizer, row, ends) for row in made[:, length:].tolist()]


def _generated(tokenizer: PreTrainedTokenizerBase, row: list[int], ends: set[int | None]) -> Generated:
    stop = next((place for place, token in enumerate(row) if token in ends), len(row))
    text = str(tokenizer.decode(row[:stop], skip_special_tokens=False))
    template = template_of(tokenizer)
    return Generated(template.answer(text), ended=stop < len(row) or template.end in text)


def _numbers(token: Any) -> list[int]:
    return token if isinstance(token, list) else [token]


class EndMarker(StoppingCriteria):
    """Ends each row of a batch for itself, as soon as its new tokens spell the end marker.

    The small base's tokenizer knows the marker as one token; another's tokens for it depend on what stands before
    it (".(" may be one). So the last tokens are read as text, but only where the very last one has its last letter.
    generate's `stop_strings` ends at the same places, and goes through the whole vocabulary at every call.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, start: int):
        self.tokenizer, self.start = tokenizer, start  # the prompt, before `start`, may hold anything
        self.marker = template_of(tokenizer).end
        self.longest = len(self.marker.encode())  # no tokenizer spells it with more: a token is a byte at least
        self.closing: dict[int, bool] = {}

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:  # type: ignore[override]
        rows = input_ids[:, max(self.start, input_ids.shape[1] - self.longest) :].tolist()
        return torch.tensor([self._ends(row) for row in rows], dtype=torch.bool, device=input_ids.device)

    def _ends(self, row: list[int]) -> bool:
        if row[-1] not in self.closing:
            self.closing[row[-1]] = self.marker[-1] in self.tokenizer.decode(row[-1:])
        return self.closing[row[-1]] and self.marker in self.tokenizer.decode(row)
