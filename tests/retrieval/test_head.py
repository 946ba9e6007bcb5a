"""A head over a frozen encoder: it finds memories, and the encoder stays what it was."""

from math import erf

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import RobertaConfig, RobertaModel

from tasks import artifact
from tasks.encoder import encoder as encoder_step
from tasks.errors import BadInput
from tasks.params import Pretrained, load_params
from tasks.retrieval.encoder import embed, load_encoder
from tasks.retrieval.head import HEAD, Head, Headed, load_head, save_head, states_of
from tasks.retrieval.head_training import STATES
from tasks.retrieval.rankers import Dense
from tasks.retrieval.search import load_finder
from tasks.retriever import retriever
from tests.flows.conftest import PROJECT
from tests.retrieval.conftest import ENCODER, RETRIEVER, TOPICS, tiny_bert
from tests.retrieval.test_retriever import QUESTIONS, metrics_of, quiet

FITTING = RETRIEVER.model_copy(update={"steps": 150, "batch_size": 16})
RATE = Pretrained(retriever_learning_rate=3e-3)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"), TOPICS.splitlines(), layers=6)


@pytest.fixture(scope="module")
def frozen(bert, topics, tmp_path_factory):
    """The output of the step `encoder` with a frozen one."""
    settings = ENCODER.model_copy(update={"model": str(bert), "frozen": True})
    out = tmp_path_factory.mktemp("frozen") / "base"
    encoder_step(settings, 1, topics, out, quiet, RATE)
    return out


def by_hand(encoder, text):
    """The states of one text, layer by layer: the mean over its tokens, at unit length."""
    model = encoder[0].auto_model
    with torch.no_grad():
        layers = model(**encoder[0].tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
    means = [layers[place][0].mean(0) for place in (6, 4, 2)]
    return torch.cat([mean / mean.norm() for mean in means]).numpy()


def test_states_are_means_of_three_layers_whatever_they_are_batched_with(bert):
    encoder = load_encoder(bert)
    texts = ["Do I need an umbrella today?", "rain", "ask: What film do I love?"] * 30
    states = states_of(encoder, texts)
    assert states.shape == (90, 48)
    for text, found in zip(texts[:3], states[:3], strict=True):
        assert np.allclose(found, by_hand(encoder, text), atol=1e-6)
    assert np.allclose(states[:3], states[-3:], atol=1e-6)


def test_a_masked_language_model_that_is_no_encoder_yet_is_the_mean_of_its_tokens(tmp_path):
    """As klue/roberta-base, a plain folder of transformers."""
    made = load_encoder(tiny_bert(tmp_path, TOPICS.splitlines(), layers=2))
    plain = tmp_path / "roberta"
    small = {"hidden_size": 16, "num_hidden_layers": 6, "num_attention_heads": 2, "intermediate_size": 32}
    model = RobertaModel(RobertaConfig(vocab_size=len(made.tokenizer), max_position_embeddings=80, **small)).eval()
    model.save_pretrained(plain)
    made.tokenizer.save_pretrained(plain)
    encoder = load_encoder(plain)
    with torch.no_grad():
        read = model(**made.tokenizer("Do I need rain?", return_tensors="pt"), output_hidden_states=True)
    mean = read.last_hidden_state[0].mean(0)
    assert np.allclose(embed(encoder, ["Do I need rain?"])[0], (mean / mean.norm()).numpy(), atol=1e-5)
    assert states_of(encoder, ["Do I need rain?"]).shape == (1, 48)


def test_an_encoder_of_fewer_layers_gives_what_it_has(tmp_path):
    encoder = load_encoder(tiny_bert(tmp_path, TOPICS.splitlines(), layers=2))
    assert states_of(encoder, ["rain"]).shape == (1, 16)


def test_the_head_is_its_formula(tmp_path):
    head = Head(torch.linspace(-1, 1, 6), width=3, hidden=5)
    states = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    weights = {name: each.double().numpy() for name, each in head.state_dict().items()}
    inner = 5 * (states.numpy() - weights["mean"]) @ weights["first.weight"].T + weights["first.bias"]
    inner = inner * 0.5 * (1 + np.vectorize(erf)(inner / 2**0.5))  # Hendrycks & Gimpel 2016
    out = inner @ weights["second.weight"].T + weights["second.bias"]
    expected = out / np.linalg.norm(out, axis=1, keepdims=True)
    assert np.allclose(head(states).detach().numpy(), expected, atol=1e-5)
    save_head(head, tmp_path)
    assert torch.equal(load_head(tmp_path)(states), head(states))


def test_it_learns_which_message_asks_for_which_key_and_the_encoder_stays(frozen, bert, pairs_folder, lines, tmp_path):
    retriever(FITTING, 1, pairs_folder(lines, lines, (), QUESTIONS), frozen, tmp_path / "out", quiet)
    assert metrics_of(tmp_path / "out")["top1"] == 1
    finder, texts = load_finder(tmp_path / "out"), ["Do I need an umbrella today?", "rain"]
    assert isinstance(finder.encoder, Headed) and (tmp_path / "out" / HEAD).is_file()
    assert np.array_equal(embed(load_encoder(tmp_path / "out/model"), texts), embed(load_encoder(bert), texts))
    plain = Dense(load_encoder(bert))
    assert np.allclose(finder.documents.rankers["sbert"].scores("rain", texts), plain.scores("rain", texts))
    assert not np.allclose(finder.encoder.scores("rain", texts), plain.scores("rain", texts), atol=0.05)


def test_the_same_inputs_give_the_same_bytes(frozen, pairs_folder, lines, tmp_path):
    few = FITTING.model_copy(update={"steps": 5})
    for name in ("one", "two"):
        retriever(few, 1, pairs_folder(lines, lines, name=f"pairs_{name}"), frozen, tmp_path / name, quiet)
    assert artifact.manifest_sum(tmp_path / "one") == artifact.manifest_sum(tmp_path / "two")


@pytest.mark.parametrize("shape", ["nothing", "one line"])
def test_whatever_lines_there_are_there_is_a_head(frozen, pairs_folder, lines, tmp_path, shape):
    own = [] if shape == "nothing" else lines[:1]
    retriever(FITTING.model_copy(update={"steps": 2}), 1, pairs_folder(own, []), frozen, tmp_path / "out", quiet)
    assert len(load_finder(tmp_path / "out").find("Where was I born?", ["[home town: Cork]"])) <= 1


def test_the_states_of_the_topics_are_kept_beside_the_encoder(frozen):
    states = load_file(artifact.verified(frozen) / STATES)["states"]
    rows = artifact.read_rows(frozen / "train.jsonl")
    assert states.dtype == np.float16 and len(rows) < len(states) <= 2 * len(rows)


def test_the_rate_of_a_pretrained_encoder_is_the_heads(frozen, pairs_folder, lines, tmp_path):
    logged = []
    few = FITTING.model_copy(update={"steps": 10, "warmup": 0.5})
    retriever(few, 1, pairs_folder(lines, []), frozen, tmp_path / "out", lambda *each: logged.append(each))
    ((step, values),) = logged
    assert step == 10 and values["learning_rate"] == pytest.approx(3e-3 * 0.1)


def test_an_encoder_without_layers_has_no_states(topics, base, tmp_path):
    settings = ENCODER.model_copy(update={"model": str(base / "model"), "frozen": True})
    with pytest.raises(BadInput, match=r"encoder.frozen is for an encoder that has layers.*set it to false"):
        encoder_step(settings, 1, topics, tmp_path / "out", quiet)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [(("frozen: false", "frozen: true"), "encoder.model is small"),
     (("frozen: false", "frozen: true", "  model: small            # small: built here, t", "  model: e5 # t",
       "ranker: sbert ", "ranker: dpr "), "retriever.ranker dpr trains two encoders")],
)  # fmt: skip
def test_what_can_not_be_frozen_is_refused(tmp_path, edit, sentence):
    text = (PROJECT / "params.yaml").read_text()
    for old, new in zip(edit[::2], edit[1::2], strict=True):
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(BadInput, match=sentence):
        load_params(tmp_path / "params.yaml")
