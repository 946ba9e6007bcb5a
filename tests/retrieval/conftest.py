import pandas as pd
import pytest

from tasks import artifact
from tasks.corpus.cartesian import COLUMNS, cartesian_pairs
from tasks.params import Retriever

SETTINGS = Retriever(
    model="small", epochs=6, batch_size=16, learning_rate=2e-2, warmup=0.1, max_length=64, threshold=0.6
)
WORDS = {
    "today's plan": ["lunch", "dentist", "chess", "garden"],
    "home town": ["Bristol", "Leeds", "Cork", "Ghent"],
    "좋아하는 음식": ["만두", "냉면", "피자", "김밥"],
}
ASKED = {
    "today's plan": ["What shall I do today?", "Am I busy today?", "Do I have plans today?", "Am I free today?"],
    "home town": ["Where was I born?", "Where do I come from?", "Which town is mine?", "In which town was I born?"],
    "좋아하는 음식": ["뭐 먹을까?", "저녁 뭐 먹지?", "무슨 음식 먹을까?", "음식 골라 줘."],
}
LINES = [(key, value, message) for key in WORDS for value, message in zip(WORDS[key], ASKED[key], strict=True)]


@pytest.fixture
def settings():
    return SETTINGS


@pytest.fixture
def lines():
    return LINES


@pytest.fixture
def pairs_folder(tmp_path):
    """Makes the output of the step `pairs` from lines."""

    def make(train, test, name="pairs"):
        with artifact.writing(tmp_path / name) as folder:
            for split, of_split in (("train", train), ("test", test)):
                rows = cartesian_pairs(of_split, [], 1000, 1)
                pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(folder / f"{split}.csv", index=False)
            artifact.write_json(folder / "lines.json", {"train": train, "test": test, "synonyms": []})
        return tmp_path / name

    return make
