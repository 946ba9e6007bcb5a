"""Deep generative replay: the model writes its own old examples (LAMOL, Sun et al. 2020, arXiv 1909.03329).

No old data is kept. Before a slice is learnt, the model samples rows from its start token on (top-k
sampling) and replays them. To be able to write questions it must have learnt them as text: so a share of every
part is predicted from the first token on (the LM loss; a share of the batches here, a weight there).

With `verify` a generated row is kept only if the model, asked for the likeliest, gives the same answer to its
question, or ends its statement's first half in the same way. A row is dropped when it is not finished, when it is
there already, and when the slice's own rows may contradict it: they ask the same question, or they make the same
statement with another answer in it. Another wording of an overridden fact, one that the slice does not have, is
not recognised.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.causal import limit_of
from tasks.lm.generate import BROKEN
from tasks.lm.logits import precision
from tasks.lm.methods.method import Method, Row, Shares
from tasks.lm.methods.replay import with_older
from tasks.lm.shares import at_most
from tasks.lm.template import PLAIN, Template, start_token, template_of, tokens_of
from tasks.method_params import Generative as GenerativeSettings

ROWS_AT_A_TIME = 128


@final
class Generative(Method):
    """Replays `share` of every batch from rows that the model before this slice wrote."""

    def __init__(self, settings: GenerativeSettings, seed: int):
        self.settings = settings
        self.seed = seed

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        self.writer = Writer(model, tokenizer, self.settings)
        return model

    def examples(self, shares: Shares, older: list[Row]) -> Shares:
        # the base model has not learnt to write questions; and where nothing is new, nothing can be overwritten
        if self.seen.own and self.steps and shares[0].rows:
            written = pseudo_rows(self.writer, self.settings, shares[0].rows, self.seed)
            shares = with_older(shares, uncontradicted(written, shares[0].rows), self.settings.share)
        return with_whole(shares, self.settings.lm_share, self.seed)


def with_whole(shares: Shares, lm_share: float, seed: int) -> Shares:
    """Add to the questions of every share so many that are predicted from their first token on: `lm_share` of all."""
    mixed = []
    for each in shares:
        questions = [{**row, "whole": True} for row in each.rows if row["prompt"]]
        whole = at_most(questions, round(len(questions) * lm_share / (1 - lm_share)), seed)
        mixed.append(replace(each, rows=[*each.rows, *whole]))
    return mixed


def pseudo_rows(writer: "Writer", settings: GenerativeSettings, fresh: list[Row], seed: int) -> list[Row]:
    """What the model writes when it is asked for `rows` rows: the finished ones, each once."""
    begun = round(settings.rows * settings.begun)
    beginnings = writer.beginnings(fresh, begun, seed)
    pairs = _once(writer.texts([*beginnings, *[[]] * (settings.rows - len(beginnings))], seed), writer.template)
    if settings.verify or settings.prompts_only:
        again = _once(writer.again(pairs), writer.template)
        pairs = again if settings.prompts_only else [pair for pair in pairs if pair in set(again)]
    return [
        {
            "id": f"generated/{number}",
            "kind": "question" if prompt else "statement",
            "prompt": prompt,
            "target": target,
            "fact": None,
        }
        for number, (prompt, target) in enumerate(pairs)
    ]


def _once(texts: Iterable[str], template: Template) -> list[tuple[str, str]]:
    return list(dict.fromkeys(pair for text in texts if (pair := split(text, template))))


def split(text: str, template: Template = PLAIN) -> tuple[str, str] | None:
    """Prompt and target of a finished text, or nothing; a statement has no prompt."""
    prompt, marker, rest = text.removeprefix(template.before).partition(template.between.strip())
    if BROKEN in text or template.end in prompt or template.between.strip() in rest:
        return None
    pair = (prompt.strip(), template.answer(rest)) if marker else ("", text.strip())
    return pair if pair[1] and bool(pair[0]) == bool(marker) else None


def uncontradicted(written: list[Row], fresh: list[Row]) -> list[Row]:
    """The written rows without those that ask what the fresh rows ask, or fill in their statements otherwise."""
    questions = {row["prompt"] for row in fresh if row["prompt"]}
    frames = set(_frames(fresh))
    return [
        row
        for row in written
        if row["prompt"] not in questions
        and not any(row["target"].startswith(head) and row["target"].endswith(tail) for head, tail in frames)
    ]


def _frames(fresh: list[Row]) -> Iterator[tuple[str, str]]:
    """What stands around the answer in each statement about a fact that is also asked for."""
    answers = {row["fact"]: row["target"] for row in fresh if row["prompt"] and row["fact"]}
    for row in fresh:
        head, found, tail = row["target"].partition(answers.get(row["fact"]) or "\0")
        if not row["prompt"] and found and (head or tail):
            yield head, tail


class Writer:
    """The model as it is before it learns the slice: writes texts, many at a time."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: GenerativeSettings):
        self.model, self.tokenizer = model, tokenizer
        self.start, self.template = start_token(tokenizer), template_of(tokenizer)
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.start
        self.length = min(settings.max_new_tokens, limit_of(model) // 2 - 1)
        self.sampling = {"do_sample": True, "top_k": settings.top_k, "temperature": settings.temperature, "top_p": 1.0}

    def beginnings(self, fresh: list[Row], count: int, seed: int) -> list[list[int]]:
        """First tokens of the slice's own questions, cut anywhere in their first half: in these words it is asked.

        What the model goes on with is what it knows, and so mostly old.
        """
        questions = [self.template.prompt(row["prompt"]) for row in fresh if row["prompt"]]
        if not questions:
            return []
        random = torch.Generator().manual_seed(seed)
        chosen = [questions[index] for index in torch.randint(len(questions), (count,), generator=random).tolist()]
        tokens = self.tokenizer(chosen, add_special_tokens=False)["input_ids"]
        cuts = torch.rand(count, generator=random).tolist()
        begin = 1 + len(tokens_of(self.template.before, self.tokenizer))
        halves = ((len(ids) + 1 - begin) / 2 for ids in tokens)
        kept = (ids[: begin + int(cut * half)] for ids, cut, half in zip(tokens, cuts, halves, strict=True))
        return sorted(kept, key=len)

    def texts(self, beginnings: list[list[int]], seed: int) -> list[str]:
        """Sampled texts, one from each beginning; those that come to their end."""
        with torch.random.fork_rng():  # the training's randomness must not depend on it
            torch.manual_seed(seed)
            return self._finished(beginnings, self.sampling)

    def again(self, pairs: list[tuple[str, str]]) -> list[str]:
        """What the model is surest of, after a pair's question, or after the first half of its statement."""
        texts = [self.template.prompt(prompt) if prompt else target for prompt, target in pairs]
        given = self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        halves = [ids if pair[0] else ids[: len(ids) // 2] for pair, ids in zip(pairs, given, strict=True)]
        return self._finished(sorted((ids[-self.length :] for ids in halves), key=len), {"do_sample": False})

    @torch.no_grad()
    def _finished(self, rows: list[list[int]], how: dict[str, Any]) -> list[str]:
        """The rows with what follows, as texts; without those that do not come to an end."""
        self.model.eval()
        config = GenerationConfig(
            max_new_tokens=self.length,
            eos_token_id=self.start,
            pad_token_id=self.pad,
            stop_strings=[self.template.end],
            **how,
        )
        found = []
        for at in range(0, len(rows), ROWS_AT_A_TIME):
            given = rows[at : at + ROWS_AT_A_TIME]
            ids = padded([[self.start, *row] for row in given], self.pad).to(self.model.device)
            mask = padded([[1] * (1 + len(row)) for row in given], 0).to(self.model.device)
            with precision(self.model.device):
                made = self.model.generate(  # type: ignore[operator]
                    ids, attention_mask=mask, generation_config=config, tokenizer=self.tokenizer
                )
            new = made[:, ids.shape[1] :].tolist()
            found += [self._text(row, more) for row, more in zip(given, new, strict=True)]
        return [text for text in found if text]

    def _text(self, given: list[int], more: list[int]) -> str:
        stop = next((place for place, token in enumerate(more) if token in (self.start, self.pad)), len(more))
        text = str(self.tokenizer.decode(given + more[:stop], skip_special_tokens=False))
        return text if self.template.end in text or self.start in more[stop : stop + 1] else ""


def padded(rows: list[list[int]], pad: int) -> Tensor:
    """[rows, longest], filled on the left: what is generated goes on at the right."""
    longest = max(map(len, rows))
    return torch.tensor([[pad] * (longest - len(row)) + row for row in rows])
