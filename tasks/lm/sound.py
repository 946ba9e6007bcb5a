"""An answer that can be shown to a person: not empty, in whole characters, without markers, not in a loop."""

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.generate import BROKEN, LONGEST, Generated, continued, prompts_of
from tasks.lm.template import PLAIN, template_of

ATTEMPTS = 3
TEMPERATURE = 0.6  # of the attempts after the first, which is greedy
TEMPLATE = (PLAIN.end, PLAIN.between.strip(), "### 답변:")  # the last one is of models that were tuned elsewhere
ROUNDS, LOOP = 3, 16  # a text that ends in so many rounds of the same, over so many characters, is a loop


def sound_answer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    message: str,
    max_new_tokens: int = LONGEST,
    attempts: int = ATTEMPTS,
) -> str:
    """The first of a few answers that is neither empty nor broken: the greedy one, then sampled ones.

    An attempt's seed is its number, so that the same message gets the same answer. If no answer is sound, it is
    the readable part of the first that has one, and "" if none has.
    """
    max_new_tokens, prompts = prompts_of(model, tokenizer, [message], max_new_tokens)
    markers = markers_of(tokenizer)
    tried = []
    for attempt in range(attempts):
        sampled = Sampled(attempt) if attempt else None
        generated = continued(model, tokenizer, prompts, max_new_tokens, sampled)[0]
        if not generated.ended:
            # the limit can cut a character in half
            generated = generated._replace(text=generated.text.rstrip(BROKEN).rstrip())
        if is_sound(generated, markers):
            return generated.text
        tried.append(generated)
    return next(filter(None, (readable(generated.text, markers) for generated in tried)), "")


def is_sound(generated: Generated, markers: tuple[str, ...]) -> bool:
    """Whether an answer can be shown: it says something, in whole characters, without markers and not in a loop.

    One that only ran into the limit can.
    """
    structure = any(marker in generated.text for marker in (*markers, BROKEN))
    return bool(generated.text) and not structure and (generated.ended or not loop_of(generated.text))


def readable(text: str, markers: tuple[str, ...]) -> str:
    """What is left of a broken answer without markers and half characters, its loop gone round once."""
    while any(marker in text for marker in (*markers, BROKEN)):
        for marker in (*markers, BROKEN):
            text = text.replace(marker, "")
    return text[: len(text) - loop_of(text)].strip()


def loop_of(text: str) -> int:
    """How many characters at the end of a text only repeat what stands before them; 0 if it is no loop.

    The last round may be cut off anywhere, as the limit on tokens does.
    """
    for period in range(1, len(text) // ROUNDS + 1):
        length = period
        while length < len(text) and text[-length - 1] == text[period - length - 1]:
            length += 1
        if length >= max(ROUNDS * period, LOOP):
            return length - period
    return 0


def markers_of(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """The texts that the model reads as structure, longest first: the template's and the tokenizer's special tokens."""
    added = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    found = {*TEMPLATE, template_of(tokenizer).end, *map(str, tokenizer.all_special_tokens), *added}
    return tuple(sorted(found, key=lambda marker: (-len(marker), marker)))


class Sampled(LogitsProcessor):
    """Turns the likeliest next token into one that is drawn at the temperature, by a seed of its own.

    The largest of logits plus Gumbel noise is a draw from their softmax. torch's one random state for everybody
    is left alone: a server's threads would disturb each other's draws.
    """

    def __init__(self, seed: int):
        self.random = torch.Generator().manual_seed(seed)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # type: ignore[override]
        noise = -torch.empty(scores.shape).exponential_(generator=self.random).log()
        return scores / TEMPERATURE + noise.to(scores.device)
