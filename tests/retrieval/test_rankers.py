import math
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from tasks.retrieval import rankers as rankers_module
from tasks.retrieval.encoder import build_encoder
from tasks.retrieval.rankers import (
    RANK_CONSTANT,
    Bm25,
    Coverage,
    Dense,
    KeyOnly,
    Mix,
    ReciprocalRank,
    Tfidf,
    inverse_frequencies,
    terms,
)
from tasks.retrieval.search import TOLERANCE, rankers

CORPUS = [
    "[오늘 날씨: 비]", "[오늘 일정: 카페 방문]", "오늘 우산 가져갈까?", "[home town: Leeds]", "Which town am I from?",
    "[pet's name: Momo]", "What is my dog called, Momo or Coco? Momo!",
]  # fmt: skip
TEXTS = ["[home town: Cork]", "[today's weather: rain]", "[좋아하는 음식: 만두]", "town", "?!", ""]
MESSAGES = ["Which town is my home town?", "오늘 비 와?", "만두", "Zebra quagga", "漢字 🙂", "?!", ""]
sentences = st.lists(st.sampled_from(["town", "home", "Momo", "비", "날씨", "오늘은", "?", "[", ":"]), max_size=6).map(
    " ".join
)

IDF = inverse_frequencies(CORPUS)
TFIDF = Tfidf(IDF)


class Fixed:
    """Scores that are known beforehand."""

    def __init__(self, *scores):
        self.given = np.array(scores)

    def scores(self, message, texts):
        return self.given


@pytest.fixture
def parts(sizes):
    return rankers(Dense(build_encoder(sizes, CORPUS, seed=1)), IDF)


def weights(text):
    """TF-IDF by hand: (1 + ln tf) * (ln((1 + n) / (1 + df)) + 1), at length one."""
    found = {}
    for term, count in Counter(terms(text)).items():
        df = sum(term in terms(other) for other in CORPUS)
        found[term] = (1 + math.log(count)) * (math.log((1 + len(CORPUS)) / (1 + df)) + 1)
    length = math.sqrt(sum(weight**2 for weight in found.values()))
    return {term: weight / length for term, weight in found.items()}


def test_the_terms_of_a_text_are_its_words_and_their_runs_of_two_to_five_letters():
    assert terms("Ab, c!") == ("ab", "<a", "ab", "b>", "<ab", "ab>", "<ab>", "c", "<c", "c>", "<c>")
    assert terms("abcd") == (
        "abcd", "<a", "ab", "bc", "cd", "d>", "<ab", "abc", "bcd", "cd>", "<abc", "abcd", "bcd>", "<abcd", "abcd>",
    )  # fmt: skip


def test_the_forms_of_a_korean_word_share_the_terms_of_their_stem():
    assert unicodedata.normalize("NFKD", "<먹") in set(terms("먹어")) & set(terms("먹었지"))


def test_tfidf_is_scikit_learns_where_the_corpus_knows_every_term():
    vectorizer = TfidfVectorizer(analyzer=terms, sublinear_tf=True).fit(CORPUS)
    for message in CORPUS:
        expected = (vectorizer.transform(CORPUS) @ vectorizer.transform([message]).T).toarray().ravel()
        assert np.allclose(TFIDF.scores(message, CORPUS), expected, atol=1e-12)


@settings(deadline=None)
@given(sentences, sentences)
def test_tfidf_is_the_cosine_of_weights_by_hand(message, text):
    of_message, of_text = weights(message), weights(text)
    expected = sum(weight * of_text.get(term, 0) for term, weight in of_message.items())
    assert TFIDF.scores(message, [text]) == pytest.approx([expected])


def test_a_term_that_the_corpus_never_saw_weighs_most():
    assert IDF.max() == pytest.approx(math.log(1 + len(CORPUS)) + 1)
    seen, unseen = TFIDF.scores("town zebra", ["town", "zebra"])
    assert 0 < seen < unseen


@settings(deadline=None)
@given(sentences, sentences)
def test_coverage_is_the_share_of_the_messages_squared_weights_that_the_text_has(message, text):
    expected = sum(weight**2 for term, weight in weights(message).items() if term in terms(text))
    assert Coverage(TFIDF).scores(message, [text]) == pytest.approx([expected])


def test_coverage_does_not_fall_with_a_passages_length():
    long = "Where I come from is another matter. My home town is Leeds, as everybody who knows me knows."
    short, longer = Coverage(TFIDF).scores("home town", ["home town", long])
    assert short == pytest.approx(longer) == pytest.approx(1)
    assert TFIDF.scores("home town", [long])[0] < 0.5


def okapi(message, texts, k1=1.5, b=0.75):
    """Robertson et al. 1995, as Lucene has it: no factor of k1 + 1, and an idf that is never negative."""
    told = [terms(text) for text in texts]
    mean = sum(map(len, told)) / len(told)
    scores = []
    for each in told:
        score = 0.0
        for term in terms(message):
            tf, df = each.count(term), sum(term in other for other in told)
            idf = math.log(1 + (len(told) - df + 0.5) / (df + 0.5))
            score += idf * tf / (tf + k1 * (1 - b + b * len(each) / mean))
        scores.append(score)
    return scores


@settings(deadline=None)
@given(sentences, st.lists(sentences, min_size=1, max_size=5))
def test_bm25_is_lucenes_form_of_the_formula(message, texts):
    expected = okapi(message, texts) if any(map(terms, texts)) else [0] * len(texts)
    assert Bm25().scores(message, texts) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_bm25_forgets_nothing_between_lists_of_texts():
    ranker = Bm25()
    first = ranker.scores("town", CORPUS)
    for start in range(6):  # more lists than it keeps indexes of
        ranker.scores("town", CORPUS[start:])
    assert np.array_equal(ranker.scores("town", CORPUS), first)


def test_reciprocal_ranks_add_up_and_of_equal_scores_the_first_goes_first():
    fused = ReciprocalRank([Fixed(0.1, 0.9, 0.5), Fixed(7, 7, 1)]).scores("?", ["a", "b", "c"])
    by_hand = [1 / (RANK_CONSTANT + 3) + 1 / (RANK_CONSTANT + 1), 1 / (RANK_CONSTANT + 1) + 1 / (RANK_CONSTANT + 2)]
    assert fused == pytest.approx([*by_hand, 1 / (RANK_CONSTANT + 2) + 1 / (RANK_CONSTANT + 3)])
    assert RANK_CONSTANT == 60


def test_a_mix_is_the_logistic_function_of_the_weighed_sum():
    mix = Mix({"a": Fixed(0.5, -1.0), "b": Fixed(2.0, 0.0)}, {"a": 3.0, "b": -0.25}, bias=0.5)
    assert mix.scores("?", ["x", "y"]) == pytest.approx([1 / (1 + math.exp(-1.5)), 1 / (1 + math.exp(2.5))])


def test_key_only_reads_no_value(parts):
    for name in ("sbert", "tfidf"):
        same = KeyOnly(parts[name]).scores("home town?", ["[home town: Cork]", "[home town: the town hall]"])
        assert same[0] == pytest.approx(same[1])
        assert same[0] == pytest.approx(parts[name].scores("home town?", ["[home town]"])[0])
        assert same[0] == pytest.approx(parts[f"key_{name}"].scores("home town?", ["[home town: Ghent]"])[0])


def test_key_only_leaves_what_is_no_memory_as_it_is():
    for text in ("My home town: Cork.", "[Cork]", "town"):
        assert np.array_equal(KeyOnly(TFIDF).scores("Which town?", [text]), TFIDF.scores("Which town?", [text]))


def test_the_dense_score_is_the_cosine_of_the_encoders_vectors(parts, sizes):
    encoder = build_encoder(sizes, CORPUS, seed=1)
    vectors = np.stack([encoder.encode(text) for text in TEXTS[:4]])
    message = encoder.encode(MESSAGES[0])
    cosines = vectors @ message / np.linalg.norm(vectors, axis=1) / np.linalg.norm(message)
    assert parts["sbert"].scores(MESSAGES[0], TEXTS[:4]) == pytest.approx(cosines, abs=1e-6)


@pytest.mark.parametrize("name", ["sbert", "key_sbert", "tfidf", "key_tfidf", "coverage"])
def test_a_texts_score_depends_on_no_other_text(parts, name):
    for message in MESSAGES:
        together = parts[name].scores(message, TEXTS)
        alone = [parts[name].scores(message, [text])[0] for text in TEXTS]
        backwards = parts[name].scores(message, [*TEXTS[::-1], *CORPUS])[: len(TEXTS)][::-1]
        assert together == pytest.approx(alone, abs=TOLERANCE / 2)
        assert together == pytest.approx(backwards, abs=TOLERANCE / 2)


def test_a_texts_vector_is_made_once_and_kept(sizes):
    dense = Dense(build_encoder(sizes, CORPUS, seed=1))
    tfidf = Tfidf(IDF)
    for texts in (TEXTS[:2], TEXTS, TEXTS[::-1], TEXTS[:1] * 3):
        first, again = dense.vectors(texts), dense.vectors(texts[::-1])[::-1]
        assert np.array_equal(first, again) and len(first) == len(texts)
        assert np.array_equal(tfidf.vectors(texts).toarray(), Tfidf(IDF).vectors(texts).toarray())


def test_more_texts_than_are_kept_are_scored_all_the_same(monkeypatch):
    monkeypatch.setattr(rankers_module, "KNOWN_TEXTS", 2)
    ranker = Tfidf(IDF)
    for texts in (CORPUS[:2], CORPUS[1:4], CORPUS, CORPUS[::-1], CORPUS[:1]):
        assert np.array_equal(ranker.scores("Which town?", texts), TFIDF.scores("Which town?", texts))


@pytest.mark.parametrize("name", ["sbert", "key_sbert", "tfidf", "key_tfidf", "coverage", "bm25"])
def test_there_is_a_finite_score_for_any_message_and_any_text(parts, name):
    for message in MESSAGES:
        for texts in (TEXTS, [""], ["?!", "..."], ["漢字"]):
            scores = parts[name].scores(message, texts)
            assert scores.shape == (len(texts),) and np.isfinite(scores).all()


@pytest.mark.parametrize("name", ["sbert", "tfidf", "coverage", "bm25"])
def test_nothing_resembles_nothing(parts, name):
    assert not parts[name].scores("", TEXTS).any()
    assert not parts[name].scores("Which town?", [""]).any()
