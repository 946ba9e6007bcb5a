"""One template for training and for answering: the model's own, if it was tuned for chat, or the project's.

The project's is `message (답변) answer(답변 종료)`. Its markers are plain text, so that they work with any tokenizer;
the small base's tokenizer knows each as one token. A base model almost never emits its own end token, so the end marker
ends every trained answer.

A chat template is a program. What it writes around a message and around its answer is taken from it once, with words
that stand for both; where that can't be found again among the tokens, the project's template is used.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from transformers import PreTrainedTokenizerBase

from tasks.corpus.text import ANSWER_MARKER, ANSWER_START
from tasks.errors import BadInput

MESSAGE, ANSWER = "Message", "Answer"  # stand for both
SAMPLES = ("Who?", "안녕", "x)", "2024", "Two words.")
TODAY = "26 Jul 2024"  # for templates that tell the model a date: with today's, tomorrow's model would be another one
NOW = "strftime_now"  # a template that asks for the time without taking a date is not used


@dataclass(frozen=True)
class Template:
    """What stands before a message, between it and its answer, at the answer's beginning, and behind it."""

    before: str
    between: str
    gap: str
    end: str

    def prompt(self, message: str) -> str:
        """What stands before the answer."""
        return f"{self.before}{message}{self.between}"

    def target(self, answer: str) -> str:
        """What the model is to produce after the prompt."""
        return f"{self.gap}{answer}{self.end}"

    def answer(self, continuation: str) -> str:
        """The answer in what the model produced, up to what ends it."""
        return continuation.split(self.end, maxsplit=1)[0].strip()


PLAIN = Template("", f" {ANSWER_START}", " ", ANSWER_MARKER)


@lru_cache(maxsize=8)
def template_of(tokenizer: PreTrainedTokenizerBase) -> Template:
    """The template of a model, by its tokenizer."""
    chat = getattr(tokenizer, "chat_template", None)
    if not isinstance(chat, str) or (NOW in chat and "date_string" not in chat):
        return PLAIN
    try:
        template = _taken_from(tokenizer)
    except Exception:  # it is a stranger's program: it may refuse such a conversation, or fail
        return PLAIN
    return template if template and _is_found_again(template, tokenizer) else PLAIN


def start_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that every sequence begins with."""
    token: Any = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if token is None:
        raise BadInput("The tokenizer has neither a begin nor an end token. Use a causal LM's own tokenizer.")
    return int(token)


def tokens_of(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens of a text, without those that a tokenizer adds of its own accord."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _taken_from(tokenizer: PreTrainedTokenizerBase) -> Template | None:
    message = {"role": "user", "content": MESSAGE}
    told: dict[str, Any] = {"tokenize": False, "enable_thinking": False, "date_string": TODAY}
    asked: Any = tokenizer.apply_chat_template([message], add_generation_prompt=True, **told)
    answered: Any = tokenizer.apply_chat_template([message, {"role": "assistant", "content": ANSWER}], **told)
    if asked.count(MESSAGE) != 1 or answered.count(ANSWER) != 1:
        return None
    before, _, between = asked.partition(MESSAGE)
    begin = tokenizer.decode([start_token(tokenizer)])  # stands before every sequence anyway
    end = answered.partition(ANSWER)[2].strip() or str(tokenizer.eos_token or "")
    return Template(before.removeprefix(begin), between, "", end) if between.strip() and end else None


def _is_found_again(template: Template, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether its parts have the same tokens whatever stands beside them, and the end one token of its own."""
    before, between = tokens_of(template.before, tokenizer), tokens_of(template.between, tokenizer)
    prompts = [tokens_of(template.prompt(sample), tokenizer) for sample in SAMPLES]
    apart = all(ids[: len(before)] == before and ids[len(ids) - len(between) :] == between for ids in prompts)
    return apart and len(tokens_of(template.end, tokenizer)) == 1
