import numpy as np
import pytest
from starlette.testclient import TestClient

from tasks.memory.store import opened
from tasks.memory.turn import Means
from tasks.memory.web import web_app
from tasks.params import Encoder, Pretrain
from tasks.retrieval.search import best

TOPICS = ("food", "town", "plan", "train")
THRESHOLD = 0.6


@pytest.fixture
def store(tmp_path):
    with opened(tmp_path / "memories.db") as connection:
        yield connection


@pytest.fixture(scope="module")
def quick_store(tmp_path_factory):
    """A store for many histories one after the other; it need not survive a power cut."""
    with opened(tmp_path_factory.mktemp("quick") / "memories.db", 2) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        yield connection


def vector(text):
    """Which topics a text names, so that cosines can be told in advance."""
    found = np.array([float(topic in text) for topic in TOPICS], dtype=np.float32)
    return found / max(1.0, float(np.linalg.norm(found)))


def find(message, texts, k=1):
    """What a retriever finds that knows of nothing but those topics."""
    return best(np.stack([vector(text) for text in texts]) @ vector(message), THRESHOLD, k)


class Model:
    """Says what it is told to, and keeps what it was asked."""

    def __init__(self, says="Fine."):
        self.says = says
        self.prompts, self.weights = [], []

    def __call__(self, contexts, weights, message):
        self.prompts.append(" ".join([*contexts, message]))
        self.weights.append(weights)
        return self.says


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def means(model):
    return Means(find=find, find_chunks=find, answer=model)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A language model and a retriever, tiny and untrained, as the pipeline saves them."""
    from tasks import artifact
    from tasks.lm.causal import build, save

    folder = tmp_path_factory.mktemp("models")
    small = Pretrain(
        slice="one", model="small", layers=1, width=16, heads=2, positions=192, vocabulary=300, steps=1,
        batch_tokens=64, learning_rate=1e-3, warmup=0.1,
    )  # fmt: skip
    with artifact.writing(folder / "lm") as partial:
        save(*build(small, ["Hello there."], seed=1), partial)
    with artifact.writing(folder / "retriever") as partial:
        save_retriever(partial)
    (folder / "untrained").mkdir()
    return folder


def save_retriever(folder):
    """One that compares letters."""
    from safetensors.numpy import save_file

    from tasks import artifact
    from tasks.retrieval.encoder import build_encoder, save_encoder
    from tasks.retrieval.rankers import inverse_frequencies
    from tasks.retrieval.search import FREQUENCIES, IDF, MODEL, RANKING

    texts = ["[home town: Cork]", "Where is my home town?"]
    small = Encoder(
        model="small", vocabulary=100, width=8, max_length=64, copies=1, epochs=1, batch_size=2, learning_rate=1e-2,
        warmup=0.1,
    )  # fmt: skip
    save_encoder(build_encoder(small, texts, seed=1), folder / MODEL)
    save_file({IDF: inverse_frequencies(texts)}, folder / FREQUENCIES)
    letters = {"ranker": "tfidf", "mix": None, "threshold": 0.3}
    artifact.write_json(folder / RANKING, {"memories": letters, "documents": letters})


PORT = 8765
HOME = f"http://127.0.0.1:{PORT}"
TOKEN = "of-this-start"
TITLE = "The model of 2024, with the memories of ann"


@pytest.fixture
def stranger(chat):
    """A client of a test file's `chat` that knows the page's address and no token."""
    return TestClient(web_app(chat, TITLE, PORT, TOKEN), base_url=HOME)


@pytest.fixture
def client(stranger):
    """The page itself, opened with the address that the terminal showed: it holds the token."""
    stranger.headers["X-Perennial-Token"] = TOKEN
    return stranger
