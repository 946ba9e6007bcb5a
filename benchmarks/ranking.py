"""Compares rankers: each is calibrated on messages held out for that, then asked those of the test, one at a time."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tasks.params import Retriever
from tasks.retrieval.calibration import Query, fitted_mix, outcome, threshold_of
from tasks.retrieval.evaluation import REGRESSION, Metrics, regression, retrieval
from tasks.retrieval.rankers import Dense, Ranker, ReciprocalRank, terms
from tasks.retrieval.search import rankers

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DECISION = ("threshold", "precision", "recall", "f1", "false_retrieval_rate")
COLUMNS = (*REGRESSION, "top1", "mrr", *DECISION, "per_second")
COSINES = ("tfidf", "sbert", "dpr")  # their scores stand beside a similarity as they are
FORMATS = {"per_second": "{:,.0f}", "threshold": "{:.3g}"}  # all else are shares and correlations
NOTHING = "–"
FIRST = 10  # texts, for the recall among the first ones


class Questions(NamedTuple):
    """Messages, the texts that all of them are asked among, and which fit: [messages, texts] booleans."""

    messages: Sequence[str]
    texts: Sequence[str]
    fits: np.ndarray

    def asked(self) -> list[Query]:
        """The same, message by message."""
        return [Query(message, self.texts, fits) for message, fits in zip(self.messages, self.fits, strict=True)]


class Pairs(NamedTuple):
    """Message, text and their true similarity, side by side."""

    messages: Sequence[str]
    texts: Sequence[str]
    true: np.ndarray


class Likeness(NamedTuple):
    """Pairs to measure a ranker's scores on, and others to bring scores that are no cosines to their scale."""

    to_scale: Pairs
    to_test: Pairs


class Table(NamedTuple):
    """A table of the page: metrics by row, which of them are shown, and what stands below."""

    columns: Sequence[str]
    rows: Mapping[str, Metrics]
    note: str


Make = Callable[[Sequence[Query]], Ranker]


def contenders(encoders: Iterable["SentenceTransformer"], idf: np.ndarray, features: Sequence[str]) -> dict[str, Make]:
    """How to make each ranker anew: none finds in another's cache what it should be timed with.

    Args:
        encoders: one for messages and texts, and one with a tower for each.
        idf: inverse document frequencies.
        features: the rankers that both hybrids are made of.
    """
    sbert, dpr = encoders

    def parts() -> dict[str, Ranker]:
        return rankers(Dense(sbert), idf)

    def some(found: Mapping[str, Ranker]) -> dict[str, Ranker]:
        return {name: found[name] for name in features}

    return {
        "tfidf": lambda _: parts()["tfidf"],
        "bm25": lambda _: parts()["bm25"],
        "sbert": lambda _: parts()["sbert"],
        "dpr": lambda _: Dense(dpr),
        "rrf": lambda _: ReciprocalRank(list(some(parts()).values())),
        "hybrid": lambda asked: fitted_mix(some(parts()), asked),
    }


def compared(
    made: Mapping[str, Make],
    settings: Retriever,
    calibration: Sequence[Query],
    test: Questions,
    likeness: Likeness | None = None,
) -> dict[str, Metrics]:
    """What every ranker makes of the test, at its own threshold."""
    return {name: _measured(name, make, settings, calibration, test, likeness) for name, make in made.items()}


def _measured(
    name: str,
    make: Make,
    settings: Retriever,
    calibration: Sequence[Query],
    test: Questions,
    likeness: Likeness | None,
) -> Metrics:
    ranker = make(calibration)
    threshold = threshold_of([outcome(ranker, each) for each in calibration], settings.max_false)
    threshold = settings.threshold if threshold is None else threshold
    scores, per_second = timed(ranker, test)
    metrics = retrieval(scores, test.fits, threshold)
    metrics |= {"threshold": threshold, "recall10": recall_among_first(scores, test.fits), "per_second": per_second}
    return metrics | (alike(ranker, likeness, name in COSINES) if likeness else {})


def timed(ranker: Ranker, test: Questions) -> tuple[np.ndarray, float]:
    """[messages, texts] scores, and messages per second of CPU time.

    As in a chat, the texts are known (their vectors are kept, their index is built), the messages are not.
    The ranker has not been asked these messages before.
    """
    ranker.scores(test.texts[0], test.texts)
    terms.cache_clear()  # all rankers share it
    started = time.process_time()
    scores = [ranker.scores(message, test.texts) for message in test.messages]
    return np.stack(scores), len(scores) / (time.process_time() - started)


def recall_among_first(scores: np.ndarray, fits: np.ndarray, first: int = FIRST) -> float:
    """The share of a message's fitting texts that are among its first ten, averaged over the messages."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :first]
    return fmean((np.take_along_axis(fits, order, 1).sum(1) / fits.sum(1)).tolist())


def alike(ranker: Ranker, likeness: Likeness, cosine: bool) -> Metrics:
    """The metrics of `regression`; squared and absolute error of scores that are no cosines after a linear fit.

    A line changes neither correlation, so these are those of the scores themselves.
    """
    scores, true = pair_scores(ranker, likeness.to_test), likeness.to_test.true
    metrics = regression(scores, true)
    if not cosine:
        slope, shift = line_through(pair_scores(ranker, likeness.to_scale), likeness.to_scale.true)
        fitted = regression(slope * scores + shift, true)
        metrics |= {"mse": fitted["mse"], "mae": fitted["mae"]}
    return metrics


def pair_scores(ranker: Ranker, pairs: Pairs) -> np.ndarray:
    """[pairs]; every message is asked among all texts of the pairs, as some scores hang on what else is there."""
    texts = list(dict.fromkeys(pairs.texts))
    at = {text: place for place, text in enumerate(texts)}
    of_message = {message: ranker.scores(message, texts) for message in dict.fromkeys(pairs.messages)}
    both = zip(pairs.messages, pairs.texts, strict=True)
    return np.array([of_message[message][at[text]] for message, text in both], dtype=np.float64)


def line_through(scores: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Slope and shift of the least squares fit; of scores that are all the same, the true values' mean."""
    spread = float(np.var(scores))
    slope = float(np.cov(scores, true, bias=True)[0, 1]) / spread if spread else 0.0
    return slope, float(true.mean() - slope * scores.mean())


def cell(column: str, value: float | None) -> str:
    """How a measure is written; a dash where there is none."""
    if value is None:
        return NOTHING
    return FORMATS.get(column, "{:.3f}").format(value)
