import pandas as pd
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tasks import artifact
from tasks.corpus.cartesian import COLUMNS, cartesian_pairs
from tasks.encoder import encoder
from tasks.params import Encoder, Retriever
from tasks.retrieval.encoder import build_encoder, save_encoder

ENCODER = Encoder(
    model="small", vocabulary=400, width=32, max_length=64, copies=2, epochs=10, batch_size=16, learning_rate=2e-2,
    warmup=0.1,
)  # fmt: skip
RETRIEVER = Retriever(
    ranker="sbert", steps=40, batch_size=16, learning_rate=2e-2, warmup=0.1, threshold=0.6, max_false=0.2
)
TOPICS = """
days:
  "today's": [today]
  "tomorrow's": [tomorrow]
words:
  - [film, movie]
frames:
  - "{message}"
  - "Hey, {message}"
topics:
  - keys: ["{day} weather", "{day} forecast"]
    values: [rain, fog, snow, wind]
    messages:
      - Do I need an umbrella {day}?
      - Will it be cold {day}?
      - Is it wet outside {day}?
      - Should I wear a coat {day}?
      - Will the sun come out {day}?
      - Is a storm on its way {day}?
  - keys: [favourite film, best film]
    values: [Blue Harbour, The Last Goose, Nine Lanterns]
    messages:
      - Which film shall I put on?
      - What film do I love?
      - Pick a film for me.
      - Name a film that I never tire of.
      - What shall we watch at the cinema?
      - I want to see something good on the screen.
  - keys: [coffee order, usual coffee]
    values: [flat white, black, espresso]
    messages:
      - What do I drink at the coffee shop?
      - How do I take my coffee?
      - Milk or no milk?
      - The barista waits for my order.
      - What do I have at the espresso bar?
      - Do I want sugar in my cup?
"""
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


def tiny_bert(folder, texts, layers):
    """A sentence-transformers folder of a random BERT, 16 wide, whose tokenizer was trained on texts."""
    torch.manual_seed(1)
    pieces = build_encoder(ENCODER, texts, seed=1)[0].tokenizer
    pieces.add_special_tokens(["[PAD]"])
    small = {"hidden_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=pieces.get_vocab_size(), **small)).save_pretrained(folder / "bert")
    PreTrainedTokenizerFast(tokenizer_object=pieces, pad_token="[PAD]").save_pretrained(folder / "bert")
    prompts = {"query": "ask: ", "document": "tell: "}
    whole = SentenceTransformer(modules=[Transformer(str(folder / "bert")), Pooling(16)], prompts=prompts)
    save_encoder(whole, folder / "own")
    return folder / "own"


@pytest.fixture
def settings():
    return RETRIEVER


@pytest.fixture
def sizes():
    """How the small encoder is built and trained."""
    return ENCODER


@pytest.fixture
def lines():
    return LINES


@pytest.fixture(scope="session")
def topics(tmp_path_factory):
    """A folder with one file of three topics."""
    folder = tmp_path_factory.mktemp("topics")
    (folder / "en.yaml").write_text(TOPICS)
    return folder


@pytest.fixture(scope="session")
def base(topics):
    """The output of the step `encoder`."""
    encoder(ENCODER, 1, topics, topics / "base", lambda *_: None)
    return topics / "base"


@pytest.fixture
def pairs_folder(tmp_path):
    """Makes the output of the step `pairs` from lines, all of slice 2020 unless they say otherwise."""

    def make(train, test, calibration=(), questions=(), name="pairs"):
        of_slice = {
            split: [line if len(line) == 4 else (*line, "2020") for line in of_split]
            for split, of_split in (("train", train), ("calibration", calibration), ("test", test))
        }
        with artifact.writing(tmp_path / name) as folder:
            for split in ("train", "test"):
                rows = cartesian_pairs([line[:3] for line in of_slice[split]], [], 1000, 1)
                pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(folder / f"{split}.csv", index=False)
            artifact.write_json(folder / "lines.json", {**of_slice, "synonyms": []})
            artifact.write_rows(folder / "questions.jsonl", list(questions))
        return tmp_path / name

    return make
