"""Scores a retriever on held-out lines: its cosines as a regression on pairs, its ranker as retrieval."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from tasks.corpus.cartesian import Synonyms, key_similarity, memory_text
from tasks.retrieval.rankers import Ranker
from tasks.retrieval.search import TOLERANCE, chosen

REGRESSION = ("mse", "mae", "pearson", "spearman")
RETRIEVAL = ("top1", "mrr", "precision", "recall", "f1", "false_retrieval_rate")
Metrics = dict[str, float | None]


def evaluate_retriever(
    parts: Mapping[str, Ranker],
    ranking: Mapping[str, Any],
    pairs: pd.DataFrame,
    lines: Sequence[Sequence[str]],
    synonyms: Synonyms,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """All metrics on held-out lines, and the predicted and true similarity of each pair.

    The candidates of a message are the memories of all held-out lines, its own among them. A memory is relevant
    if its key is the message's key or a synonym of it. Every text is encoded alone, as in serving.

    Args:
        parts: the rankers by name.
        ranking: which of them is asked, its mix and threshold (see calibration.calibrated).
        pairs: test.csv of the step `pairs`.
        lines: key, value, message, slice.
        synonyms: groups of keys that count as one.

    Returns:
        The metrics: those of `regression` for the cosines, those of `retrieval` for the ranker, and under by_slice
        for the lines of each slice among themselves; null where there is nothing to measure on.
    """
    ranker, threshold = chosen(ranking["ranker"], ranking["mix"], parts), ranking["threshold"]
    metrics: dict[str, Any] = {"lines": len(lines), "threshold": threshold, "ranker": ranking["ranker"], "by_slice": {}}
    if not lines:
        return metrics | dict.fromkeys(REGRESSION + RETRIEVAL), pd.DataFrame(columns=["predicted", "true"])
    dense = parts["sbert"]
    texts = pairs["memory_0"].unique().tolist()
    at = {text: place for place, text in enumerate(texts)}
    cosines = {message: dense.scores(message, texts) for message in pairs["user_prompt_1"].unique()}
    both = zip(pairs["memory_0"], pairs["user_prompt_1"], strict=True)
    predicted = np.array([cosines[message][at[memory]] for memory, message in both], dtype=np.float64)
    true = pairs["similarity_score"].to_numpy(dtype=np.float64)
    metrics |= regression(predicted, true) | asked_of(ranker, lines, synonyms, threshold)
    for name in sorted({line[3] for line in lines}):
        metrics["by_slice"][name] = asked_of(ranker, [line for line in lines if line[3] == name], synonyms, threshold)
    return metrics, pd.DataFrame({"predicted": predicted, "true": true})


def asked_of(ranker: Ranker, lines: Sequence[Sequence[str]], synonyms: Synonyms, threshold: float) -> Metrics:
    """The metrics of `retrieval` for the messages of some lines among their memories."""
    memories = [memory_text(line) for line in lines]
    scores = np.stack([ranker.scores(line[2], memories) for line in lines])
    relevant = np.array([[key_similarity(one[0], other[0], synonyms) == 1.0 for other in lines] for one in lines])
    return retrieval(scores, relevant, threshold)


def regression(predicted: np.ndarray, true: np.ndarray) -> Metrics:
    """Mean squared and absolute error of the cosines, and their correlation by value (Pearson) and rank (Spearman)."""
    varied = len(true) > 1 and np.ptp(true) > 0 and np.ptp(predicted) > 0
    return {
        "mse": float(np.mean((predicted - true) ** 2)),
        "mae": float(np.mean(np.abs(predicted - true))),
        "pearson": float(stats.pearsonr(predicted, true).statistic) if varied else None,
        "spearman": float(stats.spearmanr(predicted, true).statistic) if varied else None,
    }


def retrieval(scores: np.ndarray, relevant: np.ndarray, threshold: float) -> Metrics:
    """How well messages find a memory of the right key among all.

    Args:
        scores: [messages, memories].
        relevant: the same shape, true where the memory has the message's key; at least one per message.
        threshold: the best memory is retrieved if its score is at least this.

    Returns:
        top1: share of messages whose best memory is relevant. mrr: mean of 1 / rank of the first relevant one.
        precision: share of retrievals that are relevant; None without any. recall: share of messages that retrieve
        a relevant memory. f1: their harmonic mean. false_retrieval_rate: share of messages that still retrieve
        something when their relevant memories are taken away; None if nothing is left for any message.
    """
    reach = threshold - TOLERANCE
    best = scores.argmax(1)
    right = relevant[np.arange(len(scores)), best]
    retrieved = scores.max(1) >= reach
    found = int((right & retrieved).sum())
    by_score = np.argsort(-scores, axis=1, kind="stable")
    rank = 1 + np.take_along_axis(relevant, by_score, 1).argmax(1)
    others = np.where(relevant, -np.inf, scores)[~relevant.all(1)]
    return {
        "top1": float(right.mean()),
        "mrr": float((1 / rank).mean()),
        "precision": found / int(retrieved.sum()) if retrieved.any() else None,
        "recall": found / len(scores),
        "f1": 2 * found / (int(retrieved.sum()) + len(scores)),
        "false_retrieval_rate": float((others.max(1) >= reach).mean()) if len(others) else None,
    }
