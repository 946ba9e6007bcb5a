"""When a document makes an answer better: never, always, or only when the model is unsure; read, or quoted.

What a model knows well it can answer worse with a document before the question than without (Mallen et al. 2023,
arXiv 2212.10511). So a gate looks at how sure the model is of its own answer: by the memory's doubt where it has one
(see tasks/lm/solved/familiarity.py), else by how likely its answer is to it. But what a fact was overridden by it can't
know, and is sure of what was true: so the gate looks at the document's score, too. Asked are facts that it was trained
on (known), and of the model of the slice before the slice's own facts, which that one has not seen (unseen). The
documents are statements of all facts that are true; a question gets the one ranked best, which can be a wrong one. A
document is read if it stands before the question. A model that was never taught to read can quote: the document itself
is the answer. An answer is right if it has the expected one in it, as a sentence may.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.corpus.slices import Examples, Row
from tasks.lm.generate import answers
from tasks.lm.rag import confidences
from tasks.lm.solved.familiarity import doubts
from tasks.lm.solved.module import memory_of
from tasks.lm.template import template_of
from tasks.params import Evaluate
from tasks.retrieval.policy import Policy
from tasks.scoring.sampling import sample_rows

DOCUMENTS = 1000  # beside those of the facts asked for: more would make every slice cost more than the last
SENTENCE = 32  # tokens of an answer at least: one that has read may answer in a sentence
HURT = 0.02  # of known facts documents may make so many wrong, or they are not used so
ROUNDING = 1e-9
LIMIT = 0.0  # of doubt: what a memory doubts more it does not know
SURE = 1.0  # more than any mean log p
THRESHOLDS = 40  # of confidence and of score that are tried
NEVER = Policy("never")

Model = tuple[PreTrainedModel, PreTrainedTokenizerBase]
Rank = Callable[[str, Sequence[str]], np.ndarray]  # message, texts -> a score for each text


class AskedBothWays(NamedTuple):
    """A question about a fact, asked with a document before it and without: which answers were right."""

    fact: str
    without: bool
    with_document: bool
    quoted: bool
    confidence: float  # in the answer without: see Policy
    score: float  # of the document, by the ranker


def retrieval_use(
    model: Model,
    before: Model | None,
    slices: list[Examples],
    valid: dict[str, Row],
    rank: Rank,
    settings: Evaluate,
) -> dict[str, Any] | None:
    """Ask the model about the slices' facts and the one before about the newest slice's, and compare the policies.

    Args:
        model: of the newest slice.
        before: of the slice before; None if there is none, and no fact is unseen.
        slices: all that the model has seen.
        valid: the facts that are true after them, by id.
        rank: ranks the documents for a question.
        settings: how many questions of each kind.

    Returns:
        What scores.json holds, see docs/formats.md; None if there are too few facts.
    """
    known = questions_of(slices, valid, settings.retrieval)
    unseen = questions_of(slices[-1:], valid, settings.retrieval) if before else []
    documents = documents_of(slices, valid, [*known, *unseen])
    if not documents:
        return None
    remembers = memory_of(model[0]) is not None and (before is None or memory_of(before[0]) is not None)
    ask = partial(ask_both_ways, documents=documents, rank=rank, batch_tokens=settings.batch_tokens, doubt=remembers)
    return compare_policies(ask(model, known), ask(before, unseen) if before else [], LIMIT if remembers else None)


def questions_of(slices: list[Examples], valid: dict[str, Row], most: int) -> list[Row]:
    """Reworded questions about the slices' valid facts, `most` at most, as many of every slice."""
    sample = sample_rows([_facts_of(each) for each in slices], valid, most)
    return [row for each in slices for row in sample[each.name, "paraphrase"].rows]


def documents_of(slices: list[Examples], valid: dict[str, Row], questions: list[Row]) -> list[str]:
    """Statements of the valid facts: of those asked for, and of DOCUMENTS others at most."""
    sample = sample_rows([_facts_of(each) for each in slices], valid, DOCUMENTS)
    facts = {row["fact"] for row in questions}
    own = [row for each in slices for row in each.test if row["set"] == "statement" and row["fact"] in facts]
    others = [row for each in slices for row in sample[each.name, "statement"].rows]
    return list(dict.fromkeys(row["target"] for row in [*own, *others]))


def ask_both_ways(
    model: Model, questions: list[Row], documents: list[str], rank: Rank, batch_tokens: int, doubt: bool = False
) -> list[AskedBothWays]:
    """Ask every question without a document, and with the one that is ranked best. The confidence is the mean log p of
    the answer's tokens, or with `doubt` what the model's memory doubts the question, below zero.
    """
    if not questions:  # the slice brought no fact, or none is true any more
        return []
    messages = [row["prompt"] for row in questions]
    template = template_of(model[1])
    targets = model[1]([template.target(row["target"]) for row in questions], add_special_tokens=False)["input_ids"]
    longest = max(SENTENCE, max(map(len, targets)) + 1)
    given = answers(*model, messages, longest, batch_tokens)
    sure = (-doubts(*model, messages)).tolist() if doubt else confidences(*model, messages, given, batch_tokens)
    ranked = [rank(message, documents) for message in messages]
    found = [documents[int(each.argmax())] for each in ranked]
    scores = [float(each.max()) for each in ranked]
    read = answers(*model, [" ".join(both) for both in zip(found, messages, strict=True)], longest, batch_tokens)
    without, with_document, quoted = (
        [has(text, row["target"]) for text, row in zip(texts, questions, strict=True)] for texts in (given, read, found)
    )
    facts = [row["fact"] for row in questions]
    return list(map(AskedBothWays, facts, without, with_document, quoted, sure, scores))


def has(text: str, expected: str) -> bool:
    """Whether a text has an answer in it, not within a longer word or number; Hangul may go on with an ending."""
    return bool(re.search(rf"(?<!\w){re.escape(expected.casefold())}(?![^\W가-힣])", text.casefold()))


def compare_policies(
    known: list[AskedBothWays], unseen: list[AskedBothWays], limit: float | None = None
) -> dict[str, Any] | None:
    """The accuracy of never, always and gated retrieval on both groups; and the best, that with the best mean of those
    that cost no more than HURT of what is known.

    The gates and the best are chosen on one half of the facts, and all are counted on the other. A group with too few
    facts for two halves is left out; None if both are.

    Args:
        known: what was asked of facts that the model knows.
        unseen: and of others.
        limit: the confidence below which a document is used; None to choose it, too.
    """
    halves = {name: _halved(group) for name, group in (("known", known), ("unseen", unseen))}
    halves = {name: both for name, both in halves.items() if all(both)}
    if not halves:
        return None
    choosing, counted = ({name: both[which] for name, both in halves.items()} for which in (0, 1))
    gates = {name: chosen_gate(name, choosing, limit) for name in ("gated", "gated_quote")}
    # of equally good ones the first is the best
    policies = [NEVER, Policy("always"), gates["gated"], Policy("quote"), gates["gated_quote"]]
    told: dict[str, Any] = {"known": None, "unseen": None}
    for name, group in counted.items():
        told[name] = {policy.name: accuracy(group, policy) for policy in policies} | {"rows": len(group)}
    return told | {
        "gates": {name: {"confidence": gate.confidence, "score": gate.score} for name, gate in gates.items()},
        "best": _best(policies, choosing).name,
    }


def chosen_gate(name: str, groups: dict[str, list[AskedBothWays]], limit: float | None = None) -> Policy:
    """The gate with the best mean accuracy of those that cost no more than HURT of what is known; of equally good ones
    that which asks for fewest documents.
    """
    gates = gates_of(name, [each for group in groups.values() for each in group], limit)
    return _best(gates, groups)


def gates_of(name: str, asked: list[AskedBothWays], limit: float | None) -> list[Policy]:
    """Those worth trying, that which asks for fewest documents first."""
    scores = [None, *reversed(_thresholds(each.score for each in asked))]
    confidences = [*_thresholds(each.confidence for each in asked), SURE] if limit is None else [limit]
    return [Policy(name, *gate) for gate in product(confidences, scores)]


def accuracy(group: list[AskedBothWays], policy: Policy) -> float:
    """The share of right answers if documents are used so."""
    return sum(_is_right(each, policy) for each in group) / len(group)


def policy_of(scores: dict[str, Any]) -> Policy:
    """The best policy by a slice's scores.json. Where it was not measured on facts that the model had not seen: to use
    documents always, or with a memory to quote what it doubts.
    """
    measured = scores.get("retrieval_use")
    if not measured or not measured["unseen"] or "gates" not in measured:  # as older releases measured it
        return Policy("gated_quote", LIMIT) if "memory" in scores else Policy()
    return Policy(measured["best"], **measured["gates"].get(measured["best"], {}))


def _is_right(asked: AskedBothWays, policy: Policy) -> bool:
    sure = policy.gated and asked.confidence >= policy.confidence
    if policy == NEVER or (sure and not policy.outweighs(asked.score)):
        return asked.without
    return asked.quoted if policy.quotes else asked.with_document


def _best(policies: list[Policy], groups: dict[str, list[AskedBothWays]]) -> Policy:
    """The first with the best mean over the groups, of those that cost no more than HURT of what is known; if there is
    none, the first.
    """
    known = groups.get("known")
    least = accuracy(known, NEVER) - HURT if known else 0.0
    harmless = [policy for policy in policies if not known or accuracy(known, policy) >= least - ROUNDING]
    return max(harmless or policies[:1], key=lambda policy: sum(accuracy(group, policy) for group in groups.values()))


def _thresholds(values: Iterable[float]) -> list[float]:
    """Of the values, ascending, so many at most, evenly over their ranks."""
    ranked = sorted(set(values))
    return [ranked[place * len(ranked) // THRESHOLDS] for place in range(THRESHOLDS)] if ranked[THRESHOLDS:] else ranked


def _facts_of(examples: Examples) -> Examples:
    """The test rows about facts; statements among them, be they trained on or not: here they are documents."""
    return replace(examples, train=[], test=[row for row in examples.test if row["fact"]])


def _halved(group: list[AskedBothWays]) -> tuple[list[AskedBothWays], list[AskedBothWays]]:
    """By the hash of the fact, so that its wordings and languages are on one side."""
    odd = [int(hashlib.sha256(each.fact.encode()).hexdigest(), 16) % 2 for each in group]
    first, second = ([each for each, side in zip(group, odd, strict=True) if side == which] for which in (0, 1))
    return first, second
