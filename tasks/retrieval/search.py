"""Finds the memory that fits a message, or none."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks import artifact

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TOLERANCE = 1e-6  # a batch of 32 embeds 2.4e-7 apart from a batch of one: it must not change a decision


def embed(encoder: "SentenceTransformer", texts: list[str]) -> np.ndarray:
    """Unit vectors, [texts, width], each text encoded alone, as a message is when it is served."""
    return np.stack([encoder.encode(text, convert_to_numpy=True, normalize_embeddings=True) for text in texts])


def best(cosines: np.ndarray, threshold: float) -> int | None:
    """The index of the highest cosine if it reaches the threshold, else None."""
    if not len(cosines):
        return None
    place = int(cosines.argmax())
    return place if cosines[place] >= threshold - TOLERANCE else None


def encoder_in(retriever: Path) -> Path | None:
    """The model of a retriever's folder; None if the timeline had no memory lines to train one on.

    Raises:
        Corrupt: a file of the folder has changed since the pipeline wrote it.
    """
    if (retriever / artifact.MANIFEST).exists():
        artifact.verified(retriever)
    folder = retriever / "model"
    return folder if folder.exists() else None
