"""Scores a sentence encoder on held-out lines: as a regression on pairs, and as retrieval."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from tasks.corpus.cartesian import Line, Synonyms, key_similarity, memory_text
from tasks.retrieval.search import TOLERANCE, embed

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

REGRESSION = ("mse", "mae", "pearson", "spearman")
RETRIEVAL = ("top1", "mrr", "precision", "recall", "f1", "false_retrieval_rate")
Metrics = dict[str, float | None]


def no_metrics(threshold: float) -> Metrics:
    """What stands in metrics.json when there is nothing to measure on."""
    return {"lines": 0, "threshold": threshold, **dict.fromkeys(REGRESSION + RETRIEVAL)}


def evaluate_encoder(
    encoder: "SentenceTransformer", pairs: pd.DataFrame, lines: list[Line], synonyms: Synonyms, threshold: float
) -> tuple[Metrics, pd.DataFrame]:
    """All metrics on held-out lines, and the predicted and true similarity of each pair.

    The candidates of a message are the memories of all held-out lines, its own among them. A memory is relevant
    if its key is the message's key or a synonym of it. Every text is encoded alone, as in serving.
    """
    if not lines:
        return no_metrics(threshold), pd.DataFrame(columns=["predicted", "true"])
    texts = sorted({text for line in lines for text in (memory_text(line), line[2])})
    vectors = dict(zip(texts, embed(encoder, texts), strict=True))
    at = zip(pairs["memory_0"], pairs["user_prompt_1"], strict=True)
    predicted = np.array([vectors[memory] @ vectors[message] for memory, message in at], dtype=np.float64)
    true = pairs["similarity_score"].to_numpy(dtype=np.float64)

    messages = np.stack([vectors[line[2]] for line in lines])
    memories = np.stack([vectors[memory_text(line)] for line in lines])
    relevant = np.array([[key_similarity(one[0], other[0], synonyms) == 1.0 for other in lines] for one in lines])
    metrics: Metrics = {"lines": len(lines), "threshold": threshold}
    metrics |= regression(predicted, true) | retrieval(messages @ memories.T, relevant, threshold)
    return metrics, pd.DataFrame({"predicted": predicted, "true": true})


def regression(predicted: np.ndarray, true: np.ndarray) -> Metrics:
    """Mean squared and absolute error of the cosines, and their correlation by value (Pearson) and rank (Spearman)."""
    varied = len(true) > 1 and np.ptp(true) > 0 and np.ptp(predicted) > 0
    return {
        "mse": float(np.mean((predicted - true) ** 2)),
        "mae": float(np.mean(np.abs(predicted - true))),
        "pearson": float(stats.pearsonr(predicted, true).statistic) if varied else None,
        "spearman": float(stats.spearmanr(predicted, true).statistic) if varied else None,
    }


def retrieval(cosines: np.ndarray, relevant: np.ndarray, threshold: float) -> Metrics:
    """How well messages find a memory of the right key among all.

    Args:
        cosines: [messages, memories].
        relevant: the same shape, true where the memory has the message's key; at least one per message.
        threshold: the best memory is retrieved if its cosine is at least this.

    Returns:
        top1: share of messages whose best memory is relevant. mrr: mean of 1 / rank of the first relevant one.
        precision: share of retrievals that are relevant; None without any. recall: share of messages that retrieve
        a relevant memory. f1: their harmonic mean. false_retrieval_rate: share of messages that still retrieve
        something when their relevant memories are taken away; None if nothing is left for any message.
    """
    reach = threshold - TOLERANCE
    best = cosines.argmax(1)
    right = relevant[np.arange(len(cosines)), best]
    retrieved = cosines.max(1) >= reach
    found = int((right & retrieved).sum())
    by_cosine = np.argsort(-cosines, axis=1, kind="stable")
    rank = 1 + np.take_along_axis(relevant, by_cosine, 1).argmax(1)
    others = np.where(relevant, -np.inf, cosines)[~relevant.all(1)]
    return {
        "top1": float(right.mean()),
        "mrr": float((1 / rank).mean()),
        "precision": found / int(retrieved.sum()) if retrieved.any() else None,
        "recall": found / len(cosines),
        "f1": 2 * found / (int(retrieved.sum()) + len(cosines)),
        "false_retrieval_rate": float((others.max(1) >= reach).mean()) if len(others) else None,
    }
