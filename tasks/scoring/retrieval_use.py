"""When a document makes an answer better: never, always, or only when the model is unsure; read, or quoted.

What a model knows well it can answer worse with a document before the question than without (Mallen et al. 2023,
arXiv 2212.10511). So a gate looks at how sure the model is of its own answer. Asked are facts that it was trained on
(known), and of the model of the slice before the slice's own facts, which that one has not seen (unseen). The
documents are statements of all facts that are true; a question gets the one ranked best, which can be a wrong one.
A document is read if it stands before the question. A model that was never taught to read can quote: the document
itself is the answer, which is right if it holds the expected one.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.corpus.slices import Examples, Row
from tasks.lm.generate import answers
from tasks.lm.rag import confidences
from tasks.lm.template import template_of
from tasks.params import Evaluate
from tasks.scoring.answers import exact_matches
from tasks.scoring.sampling import sample_rows

DOCUMENTS = 1000  # beside those of the facts asked for: more would make every slice cost more than the last
ANY, NONE = -math.inf, 1.0  # thresholds that every confidence reaches, and none: a mean log p is 0 at most
READ, QUOTE = "with_document", "quoted"
GATED = {"gated": READ, "gated_quote": QUOTE}  # policies with a threshold

Model = tuple[PreTrainedModel, PreTrainedTokenizerBase]
Rank = Callable[[str, Sequence[str]], np.ndarray]  # message, texts -> a score for each text


class AskedBothWays(NamedTuple):
    """A question about a fact, asked with a document before it and without: which answers were right."""

    fact: str
    without: bool
    with_document: bool
    quoted: bool
    confidence: float  # of the answer without: mean log p of its tokens


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
    answers_to_known = ask_both_ways(model, known, documents, rank, settings.batch_tokens)
    answers_to_unseen = ask_both_ways(before, unseen, documents, rank, settings.batch_tokens) if before else []
    return compare_policies(answers_to_known, answers_to_unseen)


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
    model: Model, questions: list[Row], documents: list[str], rank: Rank, batch_tokens: int
) -> list[AskedBothWays]:
    """Ask every question without a document, and with the one that is ranked best."""
    if not questions:  # the slice brought no fact, or none is true any more
        return []
    messages = [row["prompt"] for row in questions]
    template = template_of(model[1])
    targets = model[1]([template.target(row["target"]) for row in questions], add_special_tokens=False)["input_ids"]
    longest = max(map(len, targets)) + 1  # what takes more is not right
    given = answers(*model, messages, longest, batch_tokens)
    sure = confidences(*model, messages, given, batch_tokens)
    found = [documents[int(rank(message, documents).argmax())] for message in messages]
    with_documents = [
        row | {"prompt": f"{document} {row['prompt']}"} for row, document in zip(questions, found, strict=True)
    ]
    right = exact_matches(*model, with_documents, batch_tokens)
    return [
        AskedBothWays(row["fact"], answer == row["target"], read, row["target"] in document, confidence)
        for row, answer, read, document, confidence in zip(questions, given, right, found, sure, strict=True)
    ]


def compare_policies(known: list[AskedBothWays], unseen: list[AskedBothWays]) -> dict[str, Any] | None:
    """The accuracy of never, always and gated retrieval on both groups, and the best on their mean.

    The gate's threshold is chosen on one half of the facts, and everything is counted on the other. A group with
    too few facts for two halves is left out; None if both are.
    """
    halves = {name: _halved(group) for name, group in (("known", known), ("unseen", unseen))}
    halves = {name: both for name, both in halves.items() if all(both)}
    if not halves:
        return None
    confidence = {
        name: chosen_threshold([choosing for choosing, _ in halves.values()], how) for name, how in GATED.items()
    }
    # of equally good ones the first is the best
    policies = {"never": (ANY, READ), "always": (NONE, READ), "gated": (confidence["gated"], READ)}
    policies |= {"quote": (NONE, QUOTE), "gated_quote": (confidence["gated_quote"], QUOTE)}
    groups = {
        name: {policy: accuracy(counted, *rule) for policy, rule in policies.items()} | {"rows": len(counted)}
        for name, (_, counted) in halves.items()
    }
    best = max(policies, key=lambda policy: sum(group[policy] for group in groups.values()))
    return {"known": groups.get("known"), "unseen": groups.get("unseen"), "confidence": confidence, "best": best}


def chosen_threshold(groups: list[list[AskedBothWays]], how: str = READ) -> float:
    """The threshold with the best mean accuracy; of equally good ones the lowest, which asks for fewest documents."""
    thresholds = [*sorted({each.confidence for group in groups for each in group}), NONE]
    return max(thresholds, key=lambda threshold: sum(accuracy(group, threshold, how) for group in groups))


def accuracy(group: list[AskedBothWays], threshold: float, how: str = READ) -> float:
    """The share of right answers if a document is read or quoted where the confidence is below the threshold."""
    return sum(each.without if each.confidence >= threshold else getattr(each, how) for each in group) / len(group)


def policy(scores: dict[str, Any]) -> tuple[str, float]:
    """The best policy by a slice's scores.json, and the confidence from which it uses no document.

    Always, where it was not measured.
    """
    measured = scores.get("retrieval_use")
    if not measured:
        return "always", NONE
    return measured["best"], measured["confidence"].get(measured["best"], ANY if measured["best"] == "never" else NONE)


def _facts_of(examples: Examples) -> Examples:
    """The test rows about facts; statements among them, be they trained on or not: here they are documents."""
    return replace(examples, train=[], test=[row for row in examples.test if row["fact"]])


def _halved(group: list[AskedBothWays]) -> tuple[list[AskedBothWays], list[AskedBothWays]]:
    """By the hash of the fact, so that its wordings and languages are on one side."""
    odd = [int(hashlib.sha256(each.fact.encode()).hexdigest(), 16) % 2 for each in group]
    first, second = ([each for each, side in zip(group, odd, strict=True) if side == which] for which in (0, 1))
    return first, second
