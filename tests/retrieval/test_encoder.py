import numpy as np
import pandas as pd
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tasks.corpus.cartesian import COLUMNS, cartesian_pairs
from tasks.errors import BadInput
from tasks.retrieval.encoder import UNKNOWN, build_encoder, load_encoder, save_encoder, shorten
from tasks.retrieval.search import best, embed
from tasks.retrieval.training import train_encoder


@pytest.fixture
def encoder(settings, lines):
    return build_encoder(settings, sorted({text for line in lines for text in line}), seed=1)


def test_the_embedding_of_a_text_is_the_mean_of_its_pieces_at_length_one(encoder):
    module = encoder[0]
    pieces = module.tokenizer.encode("Where was I born today?").ids
    mean = module.embedding.weight.detach().numpy()[pieces].mean(0)
    assert np.allclose(embed(encoder, ["Where was I born today?"])[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_a_syllable_that_was_never_seen_is_spelled_from_letters_that_were(encoder, lines):
    assert not any("멈" in text for line in lines for text in line)
    assert encoder[0].tokenizer.encode("멈").tokens and UNKNOWN not in encoder[0].tokenizer.encode("멈").tokens


def test_a_word_in_brackets_has_the_pieces_of_the_word_in_a_sentence(encoder):
    tokenizer = encoder[0].tokenizer
    assert set(tokenizer.encode("[음식: x]").tokens) >= set(tokenizer.encode("음식").tokens)


@pytest.mark.parametrize("text", ["", "🙂", "漢字"])
def test_a_text_of_unseen_characters_resembles_nothing(encoder, text):
    assert not embed(encoder, [text]).any()


def test_a_saved_encoder_loads_from_its_folder_alone_and_embeds_the_same(encoder, tmp_path):
    save_encoder(encoder, tmp_path / "model")
    texts = ["오늘 뭐 먹을까?", "Which town?"]
    assert np.array_equal(embed(load_encoder(tmp_path / "model"), texts), embed(encoder, texts))
    assert not list(tmp_path.rglob("*.md"))


def test_a_missing_encoder_is_a_sentence(tmp_path):
    with pytest.raises(BadInput, match=r"retriever\.model"):
        load_encoder(tmp_path / "nowhere")


def test_the_best_memory_is_found_only_from_the_threshold_on():
    assert best(np.array([0.1, 0.7, 0.65]), 0.6) == 1
    assert best(np.array([0.1, 0.5]), 0.6) is None
    assert best(np.array([0.6 - 2.4e-7]), 0.6) == 0
    assert best(np.array([]), 0.6) is None


def test_a_transformer_by_folder_is_trained_and_reads_no_more_than_it_may(settings, lines, tmp_path):
    texts = sorted({text for line in lines for text in line})
    pieces = build_encoder(settings, texts, seed=1)[0].tokenizer
    pieces.add_special_tokens(["[PAD]"])
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=pieces.get_vocab_size(), **sizes)).save_pretrained(tmp_path / "bert")
    PreTrainedTokenizerFast(tokenizer_object=pieces, pad_token="[PAD]").save_pretrained(tmp_path / "bert")
    save_encoder(SentenceTransformer(modules=[Transformer(str(tmp_path / "bert")), Pooling(16)]), tmp_path / "own")

    encoder = load_encoder(tmp_path / "own")
    shorten(encoder, 8)
    before = embed(encoder, texts[:2])
    pairs = pd.DataFrame(cartesian_pairs(lines, [], 1000, 1), columns=list(COLUMNS))
    train_encoder(encoder, pairs, settings.model_copy(update={"epochs": 1}), 1, lambda *_: None)
    assert not np.allclose(embed(encoder, texts[:2]), before)
    assert np.allclose(embed(encoder, ["a " * 8 + "b " * 9])[0], embed(encoder, ["a " * 8])[0], atol=1e-6)
