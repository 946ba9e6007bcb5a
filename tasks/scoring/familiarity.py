"""Whether a model with a solved memory knows what it does not know, asked of questions that it learns only next.

The model of the slice before is asked about what it was taught (known) and about the slice's new facts, which it has
not met (unknown). The doubt about a question tells them apart: AUROC is the chance that an unknown one is doubted more
than a known one (the Mann-Whitney U over the number of pairs). Answering only what is doubted least trades coverage for
risk (El-Yaniv and Wiener 2010, JMLR 11): the share of questions that are answered, and of these answered wrongly.
"""

from typing import Any

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.corpus.slices import Examples, Row, valid_facts
from tasks.lm.solved.familiarity import doubts
from tasks.params import Evaluate
from tasks.scoring.answers import exact_matches
from tasks.scoring.knowledge import QUESTIONS
from tasks.scoring.sampling import sample_rows

LOST = 0.02  # of known questions, that may be refused
POINTS = 20  # of the curve


def ask_familiar(
    before: tuple[PreTrainedModel, PreTrainedTokenizerBase],
    slices: list[Examples],
    settings: Evaluate,
    asked: dict[str, bool],
) -> dict[str, Any] | None:
    """For each kind of question: AUROC, and what is refused of the unknown; the curve over all of them.

    Args:
        before: the model of the slice before the last, with its memory.
        slices: all, the last one being unknown to it.
        settings: how many rows are asked at most.
        asked: of test rows that this model was asked before, by id, whether its answer was right.

    Returns:
        None if there is nothing known, or nothing new.
    """
    questions = known_and_unknown(slices, settings.rows)
    found: dict[str, Any] = {}
    doubted: list[Tensor] = []
    answered: list[Row] = []
    for kind, measure in QUESTIONS.items():
        known, unknown = questions[kind]
        if not known or not unknown:
            return None
        rows = known + unknown
        doubt = doubts(*before, [row["prompt"] for row in rows])
        found[measure] = told_apart(doubt[: len(known)], doubt[len(known) :])
        doubted.append(doubt)
        answered += rows
    right = _right(before, [row for row in answered if row["id"] not in asked], settings) | asked
    return found | {"risk": risk_by_coverage(torch.cat(doubted), [right[row["id"]] for row in answered])}


def known_and_unknown(slices: list[Examples], most: int) -> dict[str, tuple[list[Row], list[Row]]]:
    """Of each kind, at most so many questions about what was true before the last slice, and about its new facts."""
    new = {each["id"] for each in slices[-1].facts if each["category"] == "new"}
    sample = sample_rows(slices[:-1], valid_facts(slices[:-1]), most)
    return {
        kind: (
            [row for (_, of), each in sample.items() if of == kind for row in each.rows if row["fact"]],
            [row for row in slices[-1].test if row["set"] == kind and row["fact"] in new][:most],
        )
        for kind in QUESTIONS
    }


def told_apart(known: Tensor, unknown: Tensor) -> dict[str, float]:
    """AUROC of two groups' doubts; the share of unknown questions that are refused where LOST of the known ones are;
    and what is refused of both at the model's own limit, from which doubts are counted.
    """
    labels = torch.cat([torch.zeros(len(known)), torch.ones(len(unknown))])
    return {
        "auroc": float(roc_auc_score(labels.numpy(), torch.cat([known, unknown]).numpy())),
        "refused": float((unknown > known.quantile(1 - LOST)).float().mean()),
        "known_refused": float((known > 0).float().mean()),
        "unknown_refused": float((unknown > 0).float().mean()),
        "known": len(known),
        "unknown": len(unknown),
    }


def risk_by_coverage(doubt: Tensor, right: list[bool]) -> list[tuple[float, float]]:
    """The share of wrong answers among those that are answered, by the share that is, the least doubted first."""
    wrong = (~torch.tensor(right)[doubt.argsort(stable=True)]).double().cumsum(0)
    answered = sorted({max(1, round(len(right) * point / POINTS)) for point in range(1, POINTS + 1)})
    return [(count / len(right), float(wrong[count - 1]) / count) for count in answered]


def _right(
    before: tuple[PreTrainedModel, PreTrainedTokenizerBase], rows: list[Row], settings: Evaluate
) -> dict[str, bool]:
    right = exact_matches(*before, rows, settings.batch_tokens)
    return {row["id"]: each for row, each in zip(rows, right, strict=True)}
