"""Finds the memory that fits a message, or none; and the passages of documents that do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tasks import artifact
from tasks.retrieval.rankers import Bm25, Coverage, Dense, KeyOnly, Mix, Ranker, Tfidf

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from tasks.retrieval.head import Head

TOLERANCE = 1e-6  # a batch of 32 embeds 2.4e-7 apart from a batch of one: it must not change a decision
MODEL, RANKING, FREQUENCIES = "model", "ranking.json", "frequencies.safetensors"
IDF = "idf"


class Found(NamedTuple):
    """A text that fits: its place in the list, and how sure that is (see the ranker)."""

    place: int
    score: float


@dataclass(frozen=True)
class Finder:
    """A trained retriever: a ranker for memories and one for documents, each with its calibrated threshold."""

    folder: Path
    encoder: Dense  # of messages and memories
    memories: Ranker
    documents: Ranker
    threshold: float
    document_threshold: float
    likely: float  # the threshold of a passage that is shown as a hint

    @cached_property
    def encoder_sum(self) -> str:
        """The SHA-256 that stands for the encoder's bytes."""
        return artifact.manifest_sum(self.folder)

    def find(self, message: str, texts: Sequence[str], k: int = 1) -> list[Found]:
        """The memories at or above the threshold, best first, `k` at most."""
        return best(self.memories.scores(message, texts), self.threshold, k) if texts else []

    def find_chunks(self, message: str, texts: Sequence[str], k: int) -> list[Found]:
        """The passages that are good enough for a hint at least, best first, `k` at most: see `is_sure`."""
        return best(self.documents.scores(message, texts), self.likely, k) if texts else []

    def is_sure(self, score: float) -> bool:
        """Whether a passage of this score is good enough for an answer: at or above the documents' threshold."""
        return score >= self.document_threshold - TOLERANCE


def load_finder(retriever: Path) -> Finder | None:
    """Load a slice's retriever; None if there is none.

    Raises:
        Corrupt: a file of the folder has changed since the pipeline wrote it.
    """
    if (retriever / artifact.MANIFEST).exists():
        artifact.verified(retriever)
    if not (retriever / RANKING).exists():
        return None
    from safetensors.numpy import load_file

    from tasks.retrieval.encoder import load_encoder
    from tasks.retrieval.head import load_head

    ranking = artifact.read_json(retriever / RANKING)
    dense = dense_rankers(load_encoder(retriever / MODEL), load_head(retriever))
    idf, kinds = load_file(retriever / FREQUENCIES)[IDF], ("memories", "documents")
    memories, documents = (
        chosen(ranking[kind]["ranker"], ranking[kind]["mix"], rankers(each, idf))
        for kind, each in zip(kinds, dense, strict=True)
    )
    threshold, sure = (ranking[kind]["threshold"] for kind in kinds)
    likely = ranking["documents"].get("likely", sure)  # an older retriever has none
    return Finder(retriever, dense[0], memories, documents, threshold, sure, likely)


def dense_rankers(encoder: "SentenceTransformer", head: "Head | None") -> tuple[Dense, Dense]:
    """That of memories and that of passages: the same, but where the encoder has a head for memories."""
    from tasks.retrieval.head import Headed

    plain = Dense(encoder)
    return (Headed(encoder, head) if head else plain), plain


def rankers(dense: Dense, idf: np.ndarray) -> dict[str, Ranker]:
    """The rankers that a retriever has, by name; `key_` ones read a memory's key only."""
    tfidf = Tfidf(idf)
    found: dict[str, Ranker] = {
        "sbert": dense,
        "dpr": dense,
        "tfidf": tfidf,
        "bm25": Bm25(),
        "coverage": Coverage(tfidf),
    }
    return found | {"key_sbert": KeyOnly(dense), "key_tfidf": KeyOnly(tfidf)}


def chosen(name: str, mix: Mapping[str, Any] | None, parts: Mapping[str, Ranker]) -> Ranker:
    """The ranker of a name; with a mix, that of its parts."""
    if mix is None:
        return parts[name]
    return Mix({part: parts[part] for part in mix["weights"]}, mix["weights"], mix["bias"])


def best(scores: np.ndarray, threshold: float, k: int) -> list[Found]:
    """The `k` highest scores that reach the threshold; of equal ones the first."""
    order = np.argsort(-scores, kind="stable")[:k]
    return [Found(int(place), float(scores[place])) for place in order if scores[place] >= threshold - TOLERANCE]
