"""The solved memory within a model: it stands between the backbone and the head.

    logits = head(h) + scale * voice(q) * (z b_t) codes^T        z = q A        (b_t: see codes.py)

What the memory predicts, K numbers per place, stands behind the hidden state, and the head adds its logits: so every
forward pass has them, and what trains or scores through `hidden_states` and `logits_of` needs to know nothing of it.
The memory speaks where an answer is due, behind the template's marker, and of plain text it says nothing.

It says nothing, either, where no answer can be read from z. A code that has no part in it scores |z| / K times a
standard normal number, and the best of V such codes so many times, in the mean:

    a - (ln ln V + ln 4 pi) / 2 a + 0.5772 / a        a = sqrt(2 ln V)

(Leadbetter, Lindgren and Rootzen 1983, Extremes and Related Properties of Random Sequences, theorem 1.5.3; 0.5772 is
the mean of Gumbel's distribution). If a token of the answer, its end included, does not stand out beyond that, what
would follow is noise.

A question is known if it is seen, and if what is predicted for it is clear: the prediction for a known one is the sum
of its answer's codes, for another one a blend of several answers, in which no code stands out.

    doubt = log unseen(q) - CLARITY * mean over the answer's tokens of max_v <code(v), z b_t> / K - limit

and if it asks for what it is answered (see asked.py).

What is learnt lies in buckets, each with sums and a solution of its own; a slice is in one of them. The bucket that
doubts a question least answers it, measured from its own limit, below which it calls a question known.
"""

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.batches import Batch
from tasks.lm.blocks import blocks_of
from tasks.lm.logits import precision
from tasks.lm.solved.asked import Asked
from tasks.lm.solved.codes import SEED, codes_of, tied
from tasks.lm.solved.features import Letters, features
from tasks.lm.solved.solution import Solution
from tasks.lm.template import template_of, tokens_of
from tasks.solved_params import Solved

TOKENS = 8192  # of a forward pass that is watched
CLARITY = 6.0
GUMBEL = 0.5772  # Euler's constant


@dataclass
class Going:
    """Where the rows of a batch are, kept with the cache of keys and values: tokens so far, and what is predicted."""

    ids: list[list[int]]
    begins: list[int | None]  # the place that predicts an answer's first token
    spoken: Tensor  # z of the window that each row is in, [rows, K], with its voice
    before: list[Tensor]  # b_t of each row


class Answer(NamedTuple):
    """The tokens that can be read from what is predicted for questions, how clear they are, and which of them are said:
    those up to the end of an answer, which is one of them. Each [questions, tokens of the longest answer].
    """

    tokens: Tensor
    clear: Tensor
    said: Tensor


class Heard(NamedTuple):
    """What a bucket says of questions: how far its doubt is beyond its limit, [questions]; z, [questions, K]; and how
    loud that is, from 0 to 1, [questions]."""

    doubt: Tensor
    predicted: Tensor
    voice: Tensor


class Remembering(nn.Linear):
    """The head of a model with a solved memory: what stands behind the hidden state becomes logits of known tokens."""

    def __init__(self, head: nn.Linear, width: int):
        nn.Module.__init__(self)
        self.in_features, self.out_features = head.in_features, head.out_features
        self.weight, self.bias = head.weight, head.bias
        self.know([], width)

    def know(self, tokens: list[int], width: int) -> None:
        """Know the tokens that are part of an answer; their codes, [n, K], are divided by K."""
        self.known = torch.tensor(tokens, dtype=torch.long, device=self.weight.device)
        self.codes = codes_of(tokens, width).to(self.weight.device) / width

    def forward(self, hidden: Tensor) -> Tensor:
        states, spoken = hidden.split([self.in_features, hidden.shape[-1] - self.in_features], -1)
        logits = nn.functional.linear(states, self.weight, self.bias)
        loud = spoken.abs().amax(-1) > 0
        if not loud.any():
            return logits
        added = torch.zeros_like(logits[loud])
        added[:, self.known] = (spoken[loud].float() @ self.codes.T).to(logits.dtype)
        logits = logits.clone()
        logits[loud] += added
        return logits


class Memory:
    """The memory of a model. A plain object: nothing of it is trained, and it is saved apart from the weights."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: Solved, counts: Tensor
    ) -> None:
        self.settings, self.counts, self.tokenizer = settings, counts, tokenizer
        self.letters = Letters(counts, settings.grams)
        self.asks_for = Asked(counts)
        template = template_of(tokenizer)
        self.before, self.marker = (tokens_of(text, tokenizer) for text in (template.before, template.between))
        self.end = tokens_of(template.end, tokenizer)[-1]
        self.buckets: list[Solution] = []
        self.taken: dict[int, Tensor] = {}  # of the forward pass that runs, by layer
        self.asked: dict[str, Any] = {}
        self.watched: tuple[list[tuple[int, int]], list[list[int]]] | None = None
        blocks, backbone = blocks_of(model), model.base_model
        count = min(settings.layers, len(blocks))
        self.layers = [round(len(blocks) * number / count) - 1 for number in range(1, count + 1)]  # the last is the top
        for layer in self.layers[:-1]:
            blocks[layer].register_forward_hook(partial(self._take, layer))
        backbone.register_forward_pre_hook(self._before, with_kwargs=True)
        backbone.register_forward_hook(self._after)
        model.solved = self  # type: ignore[assignment]
        self.head = Remembering(model.get_output_embeddings(), settings.codes)
        model.set_output_embeddings(self.head)

    def learn(self, buckets: list[Solution], tokens: Tensor) -> None:
        """Speak from now on as was solved; `tokens` says how often each token is part of an answer, [vocabulary]."""
        self.buckets, self.tokens = buckets, tokens
        self.head.know(tokens.nonzero().flatten().tolist(), self.settings.codes)

    def is_full(self, rank: float) -> bool:
        """Whether a bucket of which so many directions are taken takes no more."""
        return rank > self.settings.full * self.settings.width

    def ask(self, seen: Tensor) -> Heard:
        """What the bucket that doubts each question least says of it, from q, [questions, D]."""
        each = [self._ask(bucket, seen) for bucket in self.buckets]
        best = torch.stack([asked.doubt for asked in each]).argmin(0)
        at = torch.arange(len(best), device=best.device)
        return Heard(*(torch.stack(parts)[best, at] for parts in zip(*each, strict=True)))

    def _ask(self, bucket: Solution, seen: Tensor) -> Heard:
        unseen, predicted = bucket.unseen(seen), bucket.predicted(seen)
        answer = self.read(predicted)
        voice = bucket.voice(unseen) * self.legible(predicted, answer)
        return Heard(self.doubt(unseen, answer) - bucket.limit, predicted, voice)

    def said(self, text: str) -> list[int]:
        """The tokens of an answer that is read from one place: up to its end, and no more than a place predicts."""
        tokens = tokens_of(template_of(self.tokenizer).target(text), self.tokenizer)[: self.settings.window]
        return tokens[: tokens.index(self.end) + 1] if self.end in tokens else tokens

    def read(self, predicted: Tensor) -> Answer:
        """The answers in what is predicted, [questions, K]."""
        before, tokens, clear, said = torch.ones_like(predicted), [], [], []
        going = torch.ones(len(predicted), dtype=torch.bool, device=predicted.device)
        for _ in range(self.settings.window):
            best, token = ((predicted * before) @ self.head.codes.T).max(-1)
            before = tied(before, self.head.codes[token].sign())
            tokens.append(self.head.known[token])
            clear.append(best)
            said.append(going)
            going = going & (self.head.known[token] != self.end)
            if not going.any():
                break
        return Answer(torch.stack(tokens, 1), torch.stack(clear, 1), torch.stack(said, 1))

    def doubt(self, unseen: Tensor, answer: Answer) -> Tensor:
        """About questions, [questions], by how unseen they are, [questions], and what is answered; without a limit."""
        return unseen.clamp(min=1e-9).log() - CLARITY * (answer.clear * answer.said).sum(1) / answer.said.sum(1)

    def legible(self, predicted: Tensor, answer: Answer) -> Tensor:
        """Whether what is predicted, [questions, K], is an answer, or noise in part, [questions]."""
        least = answer.clear.masked_fill(~answer.said, math.inf).amin(1)
        return least > best_by_chance(len(self.head.known)) / predicted.shape[1] * predicted.norm(dim=1)

    def _take(self, layer: int, block: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self.taken[layer] = output[0] if isinstance(output, tuple) else output

    def _before(self, backbone: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        ids = named.get("input_ids", inputs[0] if inputs else None)
        self.asked = {"ids": ids, "cache": named.get("past_key_values")}

    def _after(self, backbone: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        last = output.last_hidden_state
        if self.layers:
            self.taken[self.layers[-1]] = last
        if self.watched:
            self.seen = self.seen_at(*self.watched)
        silent = self.watched or self.asked["ids"] is None or not self.buckets
        cache = self.asked["cache"] if self.asked["cache"] is not None else getattr(output, "past_key_values", None)
        spoken = last.new_zeros(*last.shape[:2], self.settings.codes) if silent else self._spoken(last, cache)
        self.taken.clear()
        output.last_hidden_state = torch.cat([last, spoken.to(last.dtype)], -1)
        return output

    def _spoken(self, last: Tensor, cache: Any) -> Tensor:
        """What the memory predicts, [rows, length, K]; zero where no answer is due."""
        rows, length = last.shape[:2]
        spoken = torch.zeros(rows, length, self.settings.codes, device=last.device)
        going = self._going(cache, rows, last.device)
        before = len(going.ids[0])
        for row, new in enumerate(self.asked["ids"].tolist()):
            going.ids[row] += new
            begin = _behind(going.ids[row], self.marker, max(0, before - len(self.marker) + 1))
            going.begins[row] = going.begins[row] if begin is None else begin
        due = [  # (row, place, how far within its window): where an answer's token is due
            (row, place, (place - begin) % self.settings.window)
            for row, begin in enumerate(going.begins)
            if begin is not None
            for place in range(max(begin, before), before + length)
        ]
        if not due:
            return spoken
        made = going.spoken
        if windows := [(row, place) for row, place, offset in due if not offset]:
            seen = self.seen_at([(row, place - before) for row, place in windows],
                                [going.ids[row][: place + 1] for row, place in windows])  # fmt: skip
            asked = self.ask(seen)
            made = torch.cat([made, asked.predicted * (self.settings.scale * asked.voice).unsqueeze(1)])
        source_of, ties, latest, new = [], [], list(range(rows)), iter(range(rows, len(made)))
        for row, place, offset in due:
            if offset:
                going.before[row] = tied(going.before[row], _code(going.ids[row][place], self.settings.codes))
            else:
                latest[row], going.before[row] = next(new), torch.ones(self.settings.codes)
            source_of.append(latest[row])
            ties.append(going.before[row])
        at_rows, at_places, _ = (torch.tensor(each, device=last.device) for each in zip(*due, strict=True))
        spoken[at_rows, at_places - before] = made[source_of] * torch.stack(ties).to(last.device)
        going.spoken = made[latest]
        return spoken

    def watch(self, model: PreTrainedModel, batch: Batch, places: list[tuple[int, int]]) -> Tensor:
        """q, [places, D], at places (row, column) of a batch."""
        ids = batch.ids.tolist()
        so_far = [ids[row][: column + 1] for row, column in places]
        if not self.layers:
            return self.seen_at(places, so_far)
        self.watched = places, so_far
        try:
            with precision(batch.ids.device):
                model.base_model(input_ids=batch.ids, use_cache=False)
            return self.seen
        finally:
            self.watched = None

    def at_random(self, count: int) -> Tensor:
        """q, [count, D], of questions that are like nothing: each part of what is seen has a random direction."""
        random = np.random.RandomState(SEED)
        sizes = [*([self.head.in_features] * len(self.layers)), *([self.settings.grams] if self.settings.grams else [])]
        parts = [torch.from_numpy(random.standard_normal((count, size))).float() for size in sizes]
        parts = [normalize(part, dim=-1).to(self.head.weight.device) for part in parts]
        if self.settings.grams:
            parts[-1] = self.settings.gram_weight * parts[-1]
        return features(parts, self.settings.width)

    def seen_at(self, places: list[tuple[int, int]], so_far: list[list[int]]) -> Tensor:
        """q, [places, D], at places (row, column) of the forward pass that runs; `so_far` are the tokens up to each."""
        rows, columns = torch.tensor(places).T
        parts = [normalize(self.taken[layer][rows, columns].float(), dim=-1) for layer in self.layers]
        if self.settings.grams:
            texts = self.tokenizer.batch_decode([self._asked(ids) for ids in so_far], skip_special_tokens=True)
            parts.append(self.settings.gram_weight * self.letters(texts).to(self.head.weight.device))
        return features(parts, self.settings.width)

    def _asked(self, ids: list[int]) -> list[int]:
        """A sequence without what the template has before every question, which would count as letters of it."""
        length = len(self.before)
        begin = next((at for at in range(len(ids) - length + 1) if ids[at : at + length] == self.before), None)
        return ids if begin is None else ids[begin + length :]

    def _going(self, cache: Any, rows: int, device: torch.device) -> Going:
        spoken, ones = torch.zeros(rows, self.settings.codes, device=device), torch.ones(self.settings.codes)
        empty = Going([[] for _ in range(rows)], [None] * rows, spoken, [ones] * rows)
        if cache is None:
            return empty
        new = cache.get_seq_length() == self.asked["ids"].shape[1]  # the pass that runs has filled it
        if new or not hasattr(cache, "solved"):
            cache.solved = empty
        return cache.solved


def best_by_chance(count: int) -> float:
    """About how large the largest of so many standard normal numbers is in the mean: see above."""
    if count < 2:
        return 0.0
    most = math.sqrt(2 * math.log(count))
    return most - (math.log(math.log(count)) + math.log(4 * math.pi)) / (2 * most) + GUMBEL / most


def memory_of(model: PreTrainedModel) -> Memory | None:
    """A model's solved memory, if it has one."""
    found: Any = getattr(model, "solved", None)
    return found


@lru_cache(2**14)
def _code(token: int, width: int) -> Tensor:
    return codes_of([token], width)[0]


def _behind(ids: list[int], marker: list[int], start: int) -> int | None:
    """The place of the last token of the last marker that begins at `start` or behind it; None without one."""
    for at in range(len(ids) - len(marker), start - 1, -1):
        if ids[at : at + len(marker)] == marker:
            return at + len(marker) - 1
    return None
