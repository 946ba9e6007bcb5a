"""Answers messages with the causal LM, by the template that it was trained with."""

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.batches import by_length
from tasks.lm.causal import limit_of
from tasks.lm.template import ANSWER_MARKER, answer_of, prompt_text, start_token

LONGEST = 64  # tokens of an answer
BATCH_TOKENS = 8192


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
    """The greedy answers to many messages, decoded together, messages of like length in one batch.

    Half of what the model has room for is kept for the message, whatever `max_new_tokens` asks for.
    """
    max_new_tokens = min(max_new_tokens, limit_of(model) // 2)
    room = limit_of(model) - max_new_tokens - 1
    texts = [prompt_text(message) for message in messages]
    tokens = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    prompts = [[start_token(tokenizer), *each[-room:]] for each in tokens]
    lengths = [len(prompt) + max_new_tokens for prompt in prompts]
    found = [""] * len(messages)
    for run in by_length(lengths, batch_tokens):
        made = _continued(model, tokenizer, [prompts[index] for index in run], max_new_tokens)
        for index, text in zip(run, made, strict=True):
            found[index] = answer_of(text.replace(str(tokenizer.eos_token), ""))
    return found


@torch.no_grad()
def _continued(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: list[list[int]], max_new_tokens: int
) -> list[str]:
    """What follows each prompt. They are padded on the left, so that every answer begins at the same place; from
    the mask, generate counts each row's positions from its own first token on.
    """
    model.eval()
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else start_token(tokenizer)
    length = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[pad] * (length - len(prompt)) + prompt for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    made = model.generate(  # type: ignore[operator]
        ids,
        attention_mask=mask,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        stop_strings=[ANSWER_MARKER],
        tokenizer=tokenizer,
        pad_token_id=pad,
    )
    return [str(tokenizer.decode(row, skip_special_tokens=False)) for row in made[:, length:]]
