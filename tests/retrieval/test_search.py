import numpy as np
import pytest

from tasks.retrieval.calibration import UNCALIBRATED
from tasks.retrieval.encoder import build_encoder, embed, load_encoder, save_encoder
from tasks.retrieval.rankers import Bm25, Coverage, Dense, KeyOnly, Mix, Tfidf, inverse_frequencies
from tasks.retrieval.search import TOLERANCE, Finder, Found, best, chosen, load_finder, rankers

MEMORIES = ["[home town: Cork]", "[today's plan: chess]", "[좋아하는 음식: 만두]"]
MESSAGE = "Which town was I born in?"


@pytest.fixture
def encoder(sizes, lines):
    return build_encoder(sizes, sorted({text for line in lines for text in line}), seed=1)


def finder_of(encoder, threshold, tmp_path, document_threshold=0.6, likely=0.5):
    parts = rankers(Dense(encoder), inverse_frequencies(MEMORIES))
    return Finder(tmp_path, parts["sbert"], parts["sbert"], parts["coverage"], threshold, document_threshold, likely)


def test_the_best_texts_are_found_only_from_the_threshold_on():
    scores = np.array([0.1, 0.7, 0.65, 0.7])
    assert best(scores, 0.6, 9) == [Found(1, 0.7), Found(3, 0.7), Found(2, 0.65)]  # of equal scores the first
    assert best(scores, 0.6, 1) == [Found(1, 0.7)]
    assert best(scores, 0.71, 9) == best(np.array([]), 0.6, 9) == []


def test_a_score_that_batching_moved_by_a_hair_still_reaches_the_threshold():
    assert best(np.array([0.6 - 2.4e-7]), 0.6, 1) and not best(np.array([0.6 - 1e-5]), 0.6, 1)


def test_near_the_threshold_memories_encoded_alone_or_together_are_found_alike(encoder, tmp_path):
    for task in ("query", "document"):
        together = encoder.encode(MEMORIES * 11, task=task, normalize_embeddings=True)[: len(MEMORIES)]
        assert np.allclose(together, embed(encoder, MEMORIES), atol=TOLERANCE / 2)
    message = embed(encoder, [MESSAGE])[0]
    for place, text in enumerate(MEMORIES):
        cosine = float(together[place] @ message)
        for threshold, reached in ((cosine, True), (cosine + 5 * TOLERANCE, False), (cosine - 5 * TOLERANCE, True)):
            assert bool(best(np.array([cosine]), threshold, 1)) == reached
            for texts in ([text], [text] * 40):
                assert bool(finder_of(encoder, threshold, tmp_path).find(MESSAGE, texts)) == reached


def test_a_finder_finds_memories_and_passages_each_by_their_own_ranker_and_threshold(encoder, tmp_path):
    finder = finder_of(encoder, -1.0, tmp_path, document_threshold=0.05, likely=0.05)
    parts = rankers(Dense(encoder), inverse_frequencies(MEMORIES))
    cosines = parts["sbert"].scores(MESSAGE, MEMORIES)
    found = finder.find(MESSAGE, MEMORIES, k=3)
    assert [each.place for each in found] == np.argsort(-cosines).tolist()
    assert [each.score for each in found] == pytest.approx(sorted(cosines, reverse=True))
    assert finder.find(MESSAGE, MEMORIES) == found[:1]
    covered = parts["coverage"].scores(MESSAGE, MEMORIES)
    passages = finder.find_chunks(MESSAGE, MEMORIES, 3)
    assert {each.place for each in passages} == set(np.flatnonzero(covered > 0.05)) and 0 < len(passages) < 3
    assert all(finder.is_sure(each.score) for each in passages)
    for likely, count in ((float(covered.max()), 1), (float(covered.max()) + 0.01, 0)):
        hinting = finder_of(encoder, -1.0, tmp_path, 2.0, likely)
        hint = hinting.find_chunks(MESSAGE, MEMORIES, 1)
        assert [each.place for each in hint] == [int(covered.argmax())][:count]
        assert not any(hinting.is_sure(each.score) for each in hint)


def test_among_no_texts_nothing_is_found(encoder, tmp_path):
    finder = finder_of(encoder, -1.0, tmp_path, -1.0)
    assert finder.find(MESSAGE, []) == finder.find_chunks(MESSAGE, [], 3) == []


@pytest.mark.parametrize("message", ["", "?!", "漢字"])
def test_a_message_without_known_letters_finds_nothing(encoder, tmp_path, message):
    assert finder_of(encoder, 0.6, tmp_path).find(message, MEMORIES) == []
    assert finder_of(encoder, 0.6, tmp_path).find_chunks(message, MEMORIES, 3) == []


def test_embeddings_are_unit_vectors_of_the_documents_tower(encoder, tmp_path):
    vectors = finder_of(encoder, 0.6, tmp_path).encoder.vectors(MEMORIES)
    assert vectors.dtype == np.float32 and np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.allclose(vectors, embed(encoder, MEMORIES, "document"), atol=TOLERANCE / 2)


def test_every_name_is_its_ranker_and_a_mix_is_of_its_parts(encoder):
    parts = rankers(Dense(encoder), inverse_frequencies(MEMORIES))
    kinds = {"sbert": Dense, "dpr": Dense, "tfidf": Tfidf, "bm25": Bm25, "coverage": Coverage,
             "key_sbert": KeyOnly, "key_tfidf": KeyOnly}  # fmt: skip
    assert {name: type(part) for name, part in parts.items()} == kinds
    for name in kinds:
        assert chosen(name, None, parts) is parts[name]
    mix = chosen("hybrid", {"weights": {"tfidf": 2.0, "sbert": 1.0}, "bias": -1.0}, parts)
    assert isinstance(mix, Mix) and mix.rankers == {"tfidf": parts["tfidf"], "sbert": parts["sbert"]}
    by_hand = -1 + 2 * parts["tfidf"].scores(MESSAGE, MEMORIES) + parts["sbert"].scores(MESSAGE, MEMORIES)
    assert mix.scores(MESSAGE, MEMORIES) == pytest.approx(1 / (1 + np.exp(-by_hand)))


def test_what_is_used_uncalibrated_can_be_chosen(encoder):
    parts = rankers(Dense(encoder), inverse_frequencies(MEMORIES))
    assert chosen(UNCALIBRATED["ranker"], UNCALIBRATED["mix"], parts) is parts["coverage"]


def test_a_folder_without_a_retriever_has_no_finder(encoder, tmp_path):
    assert load_finder(tmp_path / "nowhere") is None
    save_encoder(encoder, tmp_path / "retriever/model")  # as before there were rankers
    assert load_encoder(tmp_path / "retriever/model") and load_finder(tmp_path / "retriever") is None
