import numpy as np
import pytest

from tasks.memory.store import opened

TOPICS = ("food", "town", "plan")


@pytest.fixture
def store(tmp_path):
    with opened(tmp_path / "memories.db") as connection:
        yield connection


@pytest.fixture
def embed():
    """A text's vector is which topics it names, so that cosines can be told in advance."""

    def of(text):
        vector = np.array([float(topic in text) for topic in TOPICS], dtype=np.float32)
        return vector / max(1.0, float(np.linalg.norm(vector)))

    return of
