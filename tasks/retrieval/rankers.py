"""Rankers: how well each text fits a message. None of them knows of thresholds."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from tasks.retrieval.prompts import DOCUMENT, QUERY, prompt_of

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sentence_transformers import SentenceTransformer

WORD = re.compile(r"\w+")
KEY = re.compile(r"\[([^\[\]:]+): [^\[\]]*\]")  # of a memory's text
GRAMS = (2, 5)  # letters; a Hangul syllable is two or three of them
BUCKETS = 2**18
RANK_CONSTANT = 60  # Cormack, Clarke & Büttcher 2009
KNOWN_TEXTS = 20_000  # whose vectors are kept
Row = TypeVar("Row")


class Ranker(Protocol):
    """Anything that scores texts for a message."""

    def scores(self, message: str, texts: Sequence[str]) -> np.ndarray:
        """[texts], the higher the better."""


@lru_cache(maxsize=KNOWN_TEXTS)
def terms(text: str) -> tuple[str, ...]:
    """The words of a text and their runs of two to five letters, Hangul taken apart into letters.

    Korean hangs particles and endings on its words, so whole words seldom meet again; their beginnings do.
    """
    found = []
    for word in WORD.findall(unicodedata.normalize("NFKD", text.lower())):
        found.append(word)
        padded = f"<{word}>"
        for size in range(GRAMS[0], GRAMS[1] + 1):
            found += [padded[start : start + size] for start in range(len(padded) - size + 1)]
    return tuple(found)


class Tfidf:
    """Cosine of TF-IDF vectors (Salton & Buckley 1988, weighed as in scikit-learn) of hashed terms.

    The inverse document frequencies are those of a corpus, not of the texts at hand, so that a text's vector
    depends on no other text of its user.
    """

    def __init__(self, idf: np.ndarray):
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

        self.counts = HashingVectorizer(analyzer=terms, n_features=BUCKETS, alternate_sign=False, norm=None)
        self.weights = TfidfTransformer(sublinear_tf=True)
        self.weights.idf_ = idf
        self._known: dict[str, csr_matrix] = {}

    def scores(self, message: str, texts: Sequence[str]) -> np.ndarray:
        found: np.ndarray = (self.vectors(texts) @ self.vectors([message]).T).toarray().ravel()
        return found

    def vectors(self, texts: Sequence[str]) -> "csr_matrix":
        """[texts, buckets]; stacked by hand, as scipy's vstack takes a second for ten thousand rows."""
        from scipy.sparse import csr_matrix

        rows = _remembered(self._known, texts, lambda fresh: self.weights.transform(self.counts.transform(fresh)))
        ends = np.cumsum([0, *(row.nnz for row in rows)])
        data, places = (np.concatenate([getattr(row, name) for row in rows]) for name in ("data", "indices"))
        return csr_matrix((data, places, ends), shape=(len(rows), BUCKETS))


class Coverage:
    """The share of a message that a text contains: of its terms' TF-IDF weights, squared, those that occur.

    Unlike a cosine it does not fall with the text's length, so that passages of any size can be compared.
    """

    def __init__(self, tfidf: Tfidf):
        self.tfidf = tfidf

    def scores(self, message: str, texts: Sequence[str]) -> np.ndarray:
        weights = self.tfidf.vectors([message])
        found: np.ndarray = ((self.tfidf.vectors(texts) > 0) @ weights.multiply(weights).T).toarray().ravel()
        return found


class Bm25:
    """Okapi BM25 (Robertson et al. 1995) over the texts at hand, as Lucene reckons it, by the library bm25s.

    Per term of the message, as often as it stands there: idf * tf / (tf + k1 * (1 - b + b * length / mean length)),
    with idf = ln(1 + (n - df + 0.5) / (df + 0.5)), k1 = 1.5, b = 0.75 (Kamphuis et al. 2020).
    """

    def __init__(self) -> None:
        self.index = lru_cache(maxsize=4)(_bm25_index)

    def scores(self, message: str, texts: Sequence[str]) -> np.ndarray:
        index = self.index(tuple(texts))
        known = [term for term in terms(message) if index and term in index.vocab_dict]
        return np.asarray(index.get_scores(known)) if known else np.zeros(len(texts))


def _bm25_index(texts: tuple[str, ...]) -> Any:
    import bm25s

    if not any(terms(text) for text in texts):
        return None
    index = bm25s.BM25()
    index.index([list(terms(text)) for text in texts], show_progress=False)
    return index


class Dense:
    """Cosine of a sentence encoder's vectors (Reimers & Gurevych 2019); a message is encoded alone, texts together.

    An encoder with two towers, one for messages and one for memories, makes it DPR (Karpukhin et al. 2020).
    """

    def __init__(self, encoder: "SentenceTransformer"):
        self.encoder = encoder
        self._known: dict[str, Any] = {}

    def scores(self, message: str, texts: Sequence[str]) -> np.ndarray:
        found: np.ndarray = self.vectors(texts) @ self.message_vector(message)
        return found

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of memories or passages, [texts, width]."""
        rows = _remembered(self._known, texts, lambda fresh: self._encoded(fresh, DOCUMENT))
        return np.stack(rows)

    def message_vector(self, message: str) -> np.ndarray:
        """The unit vector of a message, [width]."""
        vector: np.ndarray = self._encoded([message], QUERY)[0]
        return vector

    def _encoded(self, texts: list[str], task: str) -> np.ndarray:
        prompt = prompt_of(self.encoder, task)
        vectors: np.ndarray = self.encoder.encode(texts, task=task, prompt=prompt, normalize_embeddings=True)
        return vectors


class KeyOnly:
    """Another ranker's scores for a memory's key alone: what the value is says little of what it answers."""

    def __init__(self, ranker: Ranker):
        self.ranker = ranker

    def scores(self, message: str, texts: Sequence[str]) -> np.ndarray:
        return self.ranker.scores(message, [KEY.sub(r"[\1]", text) for text in texts])


class ReciprocalRank:
    """The sum of 1 / (60 + rank) over several rankers (Cormack, Clarke & Büttcher 2009, eq. 1)."""

    def __init__(self, rankers: Sequence[Ranker]):
        self.rankers = rankers

    def scores(self, message: str, texts: Sequence[str]) -> np.ndarray:
        places = [np.argsort(np.argsort(-each.scores(message, texts), kind="stable")) for each in self.rankers]
        found: np.ndarray = sum((1 / (RANK_CONSTANT + 1 + place) for place in places), np.zeros(len(texts)))
        return found


class Mix:
    """The probability that a text fits, by a logistic regression over several rankers' scores."""

    def __init__(self, rankers: Mapping[str, Ranker], weights: Mapping[str, float], bias: float):
        self.rankers, self.weights, self.bias = rankers, weights, bias

    def scores(self, message: str, texts: Sequence[str]) -> np.ndarray:
        total = np.full(len(texts), self.bias)
        for name, ranker in self.rankers.items():
            total += self.weights[name] * ranker.scores(message, texts)
        return 1 / (1 + np.exp(-total))


def inverse_frequencies(corpus: Sequence[str]) -> np.ndarray:
    """ln((1 + n) / (1 + df)) + 1 of every bucket of terms, as in scikit-learn: [buckets]."""
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    counts = HashingVectorizer(analyzer=terms, n_features=BUCKETS, alternate_sign=False, norm=None)
    idf: np.ndarray = TfidfTransformer().fit(counts.transform(corpus)).idf_
    return idf


def _remembered(
    known: dict[str, Row], texts: Sequence[str], vectors: Callable[[list[str]], Iterable[Row]]
) -> list[Row]:
    """What is known of each text; what is not yet is made, all at once."""
    fresh = [text for text in dict.fromkeys(texts) if text not in known]
    if fresh:
        if len(known) + len(fresh) > KNOWN_TEXTS:
            known.clear()
            fresh = list(dict.fromkeys(texts))
        known.update(zip(fresh, vectors(fresh), strict=True))
    return [known[text] for text in texts]
