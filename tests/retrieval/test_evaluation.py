import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tasks.corpus.cartesian import COLUMNS, cartesian_pairs
from tasks.retrieval.evaluation import REGRESSION, RETRIEVAL, asked_of, evaluate_retriever, regression, retrieval
from tasks.retrieval.search import TOLERANCE

THRESHOLD = 0.6


def brute_force(cosines, relevant, threshold):
    """The metrics again, message by message, in plain Python."""
    right = found = retrieved = false = answerable = 0
    reciprocal = 0.0
    for row, fits in zip(cosines.tolist(), relevant.tolist(), strict=True):
        ranked = sorted(range(len(row)), key=lambda place: (-row[place], place))
        right += fits[ranked[0]]
        reciprocal += 1 / (1 + next(rank for rank, place in enumerate(ranked) if fits[place]))
        if row[ranked[0]] >= threshold - TOLERANCE:
            retrieved += 1
            found += fits[ranked[0]]
        rest = [cosine for cosine, fit in zip(row, fits, strict=True) if not fit]
        if rest:
            answerable += 1
            false += max(rest) >= threshold - TOLERANCE
    count = len(cosines)
    precision, recall = found / retrieved if retrieved else None, found / count
    return {
        "top1": right / count,
        "mrr": reciprocal / count,
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if found else 0.0,
        "false_retrieval_rate": false / answerable if answerable else None,
    }


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 4))
def test_retrieval_metrics_equal_a_brute_force_count(seed, count, keys):
    random = np.random.default_rng(seed)
    groups = random.integers(keys, size=count)
    cosines = random.uniform(-1, 1, (count, count)).round(1)  # rounded: ties happen
    relevant = groups[:, None] == groups[None, :]
    metrics = retrieval(cosines, relevant, THRESHOLD)
    assert metrics == pytest.approx(brute_force(cosines, relevant, THRESHOLD))


def test_a_cosine_that_batching_moved_by_a_hair_still_reaches_the_threshold():
    fits = np.array([[True]])
    assert retrieval(np.array([[THRESHOLD - 2.4e-7]]), fits, THRESHOLD)["recall"] == 1
    assert retrieval(np.array([[THRESHOLD - 1e-5]]), fits, THRESHOLD)["recall"] == 0


def test_regression_metrics_equal_their_textbook_formulas():
    random = np.random.default_rng(3)
    predicted, true = random.uniform(-1, 1, 50), random.choice([0, 0.3333, 1], 50)
    metrics = regression(predicted, true)
    difference = [p - t for p, t in zip(predicted, true, strict=True)]
    assert metrics["mse"] == pytest.approx(sum(d * d for d in difference) / 50)
    assert metrics["mae"] == pytest.approx(sum(abs(d) for d in difference) / 50)
    assert metrics["pearson"] == pytest.approx(np.corrcoef(predicted, true)[0, 1])
    ranks = [stats.rankdata(values) for values in (predicted, true)]
    assert metrics["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_a_correlation_with_a_constant_is_unknown_not_zero():
    metrics = regression(np.array([0.1, 0.2]), np.array([1.0, 1.0]))
    assert metrics["pearson"] is None and metrics["spearman"] is None


class KeyReader:
    """The cosine of two texts' counts of the keys they name: a ranker that is always right."""

    KEYS = ("food", "town", "plan")

    def scores(self, message, texts):
        asked, *told = (np.array([float(key in text) for key in self.KEYS]) for text in (message, *texts))
        return np.array([each @ asked for each in told])


class Backwards:
    """A ranker that is always wrong."""

    def scores(self, message, texts):
        return 1 - KeyReader().scores(message, texts)


PARTS = {"sbert": KeyReader(), "tfidf": Backwards()}
SBERT = {"ranker": "sbert", "mix": None, "threshold": THRESHOLD, "lines": 0}
RIGHT = [
    ("food", "a", "food?", "2020"), ("food", "b", "what food?", "2020"), ("town", "c", "town?", "2021"),
    ("plan", "d", "plan?", "2021"),
]  # fmt: skip


def evaluated(lines, synonyms=(), ranking=SBERT):
    pairs = pd.DataFrame(cartesian_pairs([line[:3] for line in lines], synonyms, 1000, 1), columns=list(COLUMNS))
    return evaluate_retriever(PARTS, ranking, pairs, lines, synonyms)


def test_a_ranker_that_is_always_right_gets_the_best_of_every_metric():
    metrics, scatter = evaluated(RIGHT)
    assert metrics["lines"] == 4 and metrics["threshold"] == THRESHOLD and metrics["ranker"] == "sbert"
    assert metrics["mse"] == pytest.approx(0, abs=1e-12)
    assert [metrics[name] for name in ("top1", "mrr", "precision", "recall", "f1")] == [1] * 5
    assert metrics["false_retrieval_rate"] == 0
    assert len(scatter) == 16 and np.allclose(scatter["predicted"], scatter["true"])


def test_memory_and_message_of_a_pair_are_not_swapped():
    lines = [("food", "a", "town?", "2020"), ("town", "b", "food?", "2020")]  # each message asks for the other's key
    metrics, scatter = evaluated(lines)
    assert scatter["predicted"].tolist() == [0, 1, 1, 0]
    assert metrics["top1"] == 0 and metrics["false_retrieval_rate"] == 1


def test_a_synonym_of_the_key_is_relevant():
    lines = [("food", "a", "town?", "2020"), ("town", "b", "town!", "2020")]
    assert evaluated(lines)[0]["top1"] == 0.5
    assert evaluated(lines, synonyms=(("food", "town"),))[0]["top1"] == 1


def test_the_regression_is_the_encoders_and_the_retrieval_the_rankers():
    metrics, _ = evaluated(RIGHT, ranking=SBERT | {"ranker": "tfidf", "threshold": 0.9})
    assert metrics["ranker"] == "tfidf" and metrics["threshold"] == 0.9
    assert metrics["mse"] == pytest.approx(0, abs=1e-12) and metrics["top1"] == 0
    mix = {"weights": {"sbert": 3.0, "tfidf": 1.0}, "bias": -2.0}
    mixed, _ = evaluated(RIGHT, ranking={"ranker": "hybrid", "mix": mix, "threshold": 0.6})
    assert mixed["ranker"] == "hybrid" and mixed["top1"] == mixed["f1"] == 1


def test_each_slices_lines_are_asked_among_themselves():
    lines = [("plan", "a", "plan?", "2020"), ("food", "b", "town?", "2020"), ("town", "c", "town?", "2021")]
    metrics, _ = evaluated(lines)
    assert metrics["by_slice"].keys() == {"2020", "2021"}
    assert metrics["by_slice"]["2020"] == asked_of(KeyReader(), lines[:2], (), THRESHOLD)
    assert metrics["by_slice"]["2020"]["top1"] == 0.5 and metrics["by_slice"]["2020"]["precision"] == 1
    assert metrics["by_slice"]["2021"]["top1"] == 1
    assert metrics["by_slice"]["2021"]["false_retrieval_rate"] is None  # nothing else is there to be found
    assert metrics["precision"] == pytest.approx(2 / 3)  # among all, one finds another slice's town


def test_every_message_is_asked_once_whatever_pairs_were_left_out():
    few = pd.DataFrame(cartesian_pairs([line[:3] for line in RIGHT], (), 3, 1), columns=list(COLUMNS))
    metrics, scatter = evaluate_retriever(PARTS, SBERT, few, RIGHT, ())
    assert len(scatter) == 3 and metrics["top1"] == 1 and metrics["lines"] == 4


def test_without_held_out_lines_every_metric_is_unknown():
    metrics, scatter = evaluated([])
    assert metrics == {"lines": 0, "threshold": THRESHOLD, "ranker": "sbert", "by_slice": {}} | dict.fromkeys(
        REGRESSION + RETRIEVAL
    )
    assert scatter.empty and list(scatter.columns) == ["predicted", "true"]
