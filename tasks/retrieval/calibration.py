"""When to retrieve: the weights of a mix and the threshold, from lines that nothing was trained on."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tasks.corpus.cartesian import memory_text
from tasks.corpus.topics import TopicLine
from tasks.params import Retriever
from tasks.retrieval.rankers import Mix, Ranker
from tasks.retrieval.search import TOLERANCE

HYBRID = ("sbert", "key_sbert", "tfidf", "key_tfidf")  # what the mix for memories is made of
PASSAGES = ("coverage", "tfidf", "sbert")  # and that for documents
# documents, where no facts are asked for
UNCALIBRATED: dict[str, Any] = {"ranker": "coverage", "mix": None, "threshold": 0.6, "likely": 0.5}
CANDIDATES = 150  # memories beside a message's own, of the topics' held-out lines
FEWEST = 8  # lines: with fewer there is nothing to calibrate on
LONGEST_PASSAGE = 5  # statements
STRENGTH = 10.0  # scikit-learn's C of the logistic regression


def calibrated(
    settings: Retriever,
    seed: int,
    parts: Mapping[str, Ranker],
    own: Sequence[TopicLine],
    topics: Sequence[TopicLine],
    questions: Sequence[Mapping[str, str]],
    for_documents: Mapping[str, Ranker] | None = None,
) -> dict[str, Any]:
    """What ranking.json holds: for memories and for documents the ranker, the mix's weights, the threshold.

    Args:
        settings: of the retriever.
        seed: of random choices.
        parts: the rankers by name.
        own: the slices' lines for calibration.
        topics: the topics' lines that were held out.
        questions: to facts, with the statements that answer them.
        for_documents: other rankers for passages; None: the same.
    """
    owned = line_queries(own, len(own), seed)
    queries = [*owned, *line_queries(topics, CANDIDATES, seed)]
    enough = settings.calibration == "slices" and not _too_few(len(owned), settings.max_false)
    memories = _fitted(settings.ranker, HYBRID, parts, queries, owned if enough else queries, settings)
    passages = question_queries(questions, seed)
    documents = UNCALIBRATED
    if len(passages) >= 2 * FEWEST:
        documents = _fitted(
            "hybrid", PASSAGES, for_documents or parts, passages[::2], passages[1::2], settings, likely=True
        )
    return {"memories": memories, "documents": documents}


def _fitted(
    ranker: str,
    features: Sequence[str],
    parts: Mapping[str, Ranker],
    to_mix: Sequence["Query"],
    to_choose: Sequence["Query"],
    settings: Retriever,
    likely: bool = False,
) -> dict[str, Any]:
    """likely: also the threshold of what is shown as no more than a hint, the one with the best F1 of all."""
    mix = None
    if ranker == "hybrid" and len(to_mix) >= FEWEST and not all(each.fits.all() for each in to_mix):
        mix = fitted_mix({name: parts[name] for name in features}, to_mix)
    scorer = mix or parts["sbert" if ranker == "hybrid" else ranker]
    outcomes = [outcome(scorer, each) for each in to_choose]
    threshold = threshold_of(outcomes, settings.max_false)
    used = settings.threshold if threshold is None else threshold
    found = {
        "ranker": ranker if mix or ranker != "hybrid" else "sbert",
        "mix": {"weights": mix.weights, "bias": mix.bias} if mix else None,
        "threshold": used,
        "lines": len(outcomes),
    }
    if not likely:
        return found
    hint = threshold_of(outcomes, max_false=1.0)
    return found | {"likely": used if hint is None else min(used, hint)}


class Query(NamedTuple):
    """A message, the texts it might find, and which of them fit it: [texts] booleans."""

    message: str
    texts: Sequence[str]
    fits: np.ndarray


class Outcome(NamedTuple):
    """What a ranker makes of one message.

    Attributes:
        score: of the best text. right: whether that text fits.
        other: the best score of a text that does not fit: what would be retrieved if nothing fitted.
        rank: of the first text that fits, from 1.
    """

    score: float
    right: bool
    other: float
    rank: int


def outcome(ranker: Ranker, query: Query) -> Outcome:
    """Let a ranker answer. A message that no text fits has an infinite rank of 0."""
    scores = ranker.scores(query.message, query.texts)
    order = np.argsort(-scores, kind="stable")
    others = scores[~query.fits]
    return Outcome(
        float(scores[order[0]]),
        bool(query.fits[order[0]]),
        float(others.max()) if len(others) else -np.inf,
        int(query.fits[order].argmax()) + 1 if query.fits.any() else 0,
    )


def fitted_mix(rankers: Mapping[str, Ranker], queries: Sequence[Query]) -> Mix:
    """The mix whose weights make the texts that fit most probable (logistic regression, all classes weighed alike)."""
    from sklearn.linear_model import LogisticRegression

    columns = [
        np.concatenate([ranker.scores(each.message, each.texts) for each in queries]) for ranker in rankers.values()
    ]
    model = LogisticRegression(C=STRENGTH, max_iter=1000)
    model.fit(np.stack(columns, 1), np.concatenate([each.fits for each in queries]))
    weights = {name: float(weight) for name, weight in zip(rankers, model.coef_[0], strict=True)}
    return Mix(rankers, weights, float(model.intercept_[0]))


def threshold_of(outcomes: Sequence[Outcome], max_false: float) -> float | None:
    """The threshold with the best F1 among those that keep false retrievals within a bound.

    Args:
        outcomes: of held-out messages.
        max_false: the bound on (false + 1) / (messages + 1): of the messages whose fitting texts are taken away,
            the share that still retrieves something; one more than was seen, as the sample is small.

    Returns:
        None if there are fewer than eight messages, or too few for the bound: 24 at 0.04. If no threshold keeps the
        bound: just above the highest score.
    """
    if _too_few(len(outcomes), max_false):
        return None
    others = np.array([each.other for each in outcomes])
    scores = np.array([each.score for each in outcomes])
    right = np.array([each.right for each in outcomes])
    above = float(max(scores.max(), others.max())) + 2 * TOLERANCE
    best, best_f1 = above, -1.0
    for candidate in sorted({*scores.tolist(), above}):
        if ((others >= candidate - TOLERANCE).sum() + 1) / (len(others) + 1) > max_false:
            continue
        retrieved = scores >= candidate - TOLERANCE
        f1 = 2 * (right & retrieved).sum() / (retrieved.sum() + len(scores))
        if f1 > best_f1:
            best, best_f1 = candidate, float(f1)
    return best


def _too_few(messages: int, max_false: float) -> bool:
    return messages < FEWEST or 1 / (messages + 1) > max_false


def line_queries(lines: Sequence[TopicLine], most: int, seed: int) -> list[Query]:
    """Each line's message with the memories of the lines: all, or its own and a random choice of `most` others."""
    random = np.random.default_rng(seed)
    texts = [memory_text(line) for line in lines]
    numbers = np.unique([line.group for line in lines], return_inverse=True)[1]
    queries = []
    for place, line in enumerate(lines):
        others = np.delete(np.arange(len(lines)), place)
        if len(others) > most:
            others = np.sort(random.choice(others, most, replace=False))
        candidates = [place, *others.tolist()]
        queries.append(Query(line.message, [texts[each] for each in candidates], numbers[candidates] == numbers[place]))
    return queries


def question_queries(rows: Sequence[Mapping[str, str]], seed: int) -> list[Query]:
    """Each question with passages of one to five statements: all passages together hold every statement once."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(rows)).tolist()
    passages: list[str] = []
    holds = np.zeros(len(rows), dtype=int)
    while order:
        taken = [order.pop() for _ in range(min(len(order), int(random.integers(1, LONGEST_PASSAGE + 1))))]
        holds[taken] = len(passages)
        passages.append(" ".join(rows[each]["statement"] for each in taken))
    numbers = np.arange(len(passages))
    return [Query(row["question"], passages, numbers == place) for row, place in zip(rows, holds, strict=True)]
