"""Answers a message with the causal LM, by the template that it was trained with."""

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.causal import limit_of, start_token
from tasks.lm.template import ANSWER_MARKER, answer_of, prompt_text


@torch.no_grad()
def answer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, message: str, max_new_tokens: int = 64) -> str:
    """The greedy answer, ended by the end marker or after `max_new_tokens` tokens.

    A message that is too long for the model loses its beginning, as in training.
    """
    model.eval()
    tokens = tokenizer(prompt_text(message), add_special_tokens=False)["input_ids"]
    room = limit_of(model) - max_new_tokens - 1
    ids = torch.tensor([[start_token(tokenizer), *tokens[-room:]]], device=model.device)
    made = model.generate(  # type: ignore[operator]
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        stop_strings=[ANSWER_MARKER],
        tokenizer=tokenizer,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else start_token(tokenizer),
    )
    text = str(tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=False))
    return answer_of(text.replace(str(tokenizer.eos_token), ""))
