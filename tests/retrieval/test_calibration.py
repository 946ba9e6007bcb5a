import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.corpus.cartesian import memory_text
from tasks.corpus.topics import TopicLine
from tasks.retrieval.calibration import (
    FEWEST,
    HYBRID,
    LONGEST_PASSAGE,
    PASSAGES,
    UNCALIBRATED,
    Outcome,
    Query,
    calibrated,
    fitted_mix,
    line_queries,
    outcome,
    question_queries,
    threshold_of,
)
from tasks.retrieval.search import TOLERANCE, best, chosen

MAX_FALSE = 0.2
QUESTIONS = [{"question": f"Who leads land{n}?", "statement": f"Person{n} leads land{n}."} for n in range(40)]
LINES = [TopicLine(f"key{n % 5}", f"{n}", f"message {n} about key{n % 5}", f"key{n % 5}") for n in range(20)]
scores = st.integers(-10, 10).map(lambda tenths: tenths / 10)
outcomes_of = st.builds(Outcome, scores, st.booleans(), scores, st.just(1))


class Words:
    """The share of a message's words that a text has."""

    def scores(self, message, texts):
        asked, *told = (set(re.findall(r"\w+", text.lower())) for text in (message, *texts))
        return np.array([len(asked & each) / len(asked) for each in told])


class Noise:
    """Scores that say nothing."""

    def __init__(self, seed=1):
        self.random = np.random.default_rng(seed)

    def scores(self, message, texts):
        return self.random.uniform(size=len(texts))


@pytest.fixture
def parts():
    ranker = Words()
    return dict.fromkeys(["sbert", "dpr", "tfidf", "bm25", "coverage", "key_sbert", "key_tfidf"], ranker)


def false_share(outcomes, threshold):
    return (sum(each.other >= threshold - TOLERANCE for each in outcomes) + 1) / (len(outcomes) + 1)


def f1_at(outcomes, threshold):
    retrieved = [each for each in outcomes if each.score >= threshold - TOLERANCE]
    found = sum(each.right for each in retrieved)
    if not found:
        return 0.0
    precision, recall = found / len(retrieved), found / len(outcomes)
    return 2 * precision * recall / (precision + recall)


@given(st.lists(outcomes_of, min_size=FEWEST, max_size=20), st.sampled_from([0.05, MAX_FALSE, 0.5]))
def test_the_threshold_has_the_best_f1_of_all_that_keep_the_bound(outcomes, max_false):
    every = [tenths / 20 for tenths in range(-21, 42)]  # scores are tenths: these lie on them, between and beyond
    allowed = [threshold for threshold in every if false_share(outcomes, threshold) <= max_false]
    threshold = threshold_of(outcomes, max_false)
    if not allowed:  # not even a threshold that nothing reaches keeps the bound: the sample is too small for it
        assert threshold is None and 1 / (len(outcomes) + 1) > max_false
        return
    assert false_share(outcomes, threshold) <= max_false
    assert f1_at(outcomes, threshold) == pytest.approx(max(f1_at(outcomes, each) for each in allowed))


def test_with_fewer_than_eight_messages_there_is_no_threshold():
    right = Outcome(0.9, True, 0.1, 1)
    assert threshold_of([right] * (FEWEST - 1), MAX_FALSE) is None
    assert threshold_of([right] * FEWEST, MAX_FALSE) == 0.9


def test_one_message_more_is_held_against_a_small_sample():
    eight, nine = ([Outcome(0.9, True, 0.1, 1)] * count for count in (8, 9))
    assert threshold_of(nine, 0.1) == 0.9  # 1 of 10
    assert threshold_of(eight, 0.1) is None  # 1 of 9, whatever the threshold


def test_an_outcome_tells_what_would_be_retrieved_with_and_without_the_texts_that_fit():
    class Given:
        def scores(self, message, texts):
            return np.array([0.2, 0.9, 0.9, 0.4])

    def told(*fits):
        return outcome(Given(), Query("?", ["a", "b", "c", "d"], np.array(fits)))

    assert told(False, True, False, False) == Outcome(0.9, True, 0.9, 1)
    assert told(False, False, True, False) == Outcome(0.9, False, 0.9, 2)  # of equal scores the first is retrieved
    assert told(True, True, True, False) == Outcome(0.9, True, 0.4, 1)
    assert told(True, False, False, True) == Outcome(0.9, False, 0.9, 3)
    assert told(True, True, True, True) == Outcome(0.9, True, -np.inf, 1)
    assert told(False, False, False, False) == Outcome(0.9, False, 0.9, 0)


def test_a_mix_puts_what_fits_first_and_trusts_the_ranker_that_knows():
    asked = line_queries(LINES, 60, seed=1)
    mix = fitted_mix({"words": Words(), "noise": Noise()}, asked)
    assert mix.weights["words"] > 5 * abs(mix.weights["noise"])
    for each in asked:
        made = mix.scores(each.message, each.texts)
        assert made[each.fits].min() > 0.5 > made[~each.fits].max()


def test_a_mix_is_the_same_whenever_it_is_fitted():
    one, again = (fitted_mix({"words": Words(), "noise": Noise()}, line_queries(LINES, 60, 1)) for _ in range(2))
    assert (one.weights, one.bias) == (again.weights, again.bias)


@pytest.mark.parametrize("most", [0, 3, 19, 60])
def test_a_line_is_asked_with_its_own_memory_and_so_many_others(most):
    for asked, line in zip(line_queries(LINES, most, seed=1), LINES, strict=True):
        assert asked.message == line.message and memory_text(line) in asked.texts
        assert len(asked.texts) == len(set(asked.texts)) == len(asked.fits) == 1 + min(most, len(LINES) - 1)
        assert asked.fits.tolist() == [text.startswith(f"[{line.key}:") for text in asked.texts]


def test_a_line_that_stands_alone_meets_itself():
    ((message, texts, fits),) = line_queries(LINES[:1], 60, seed=1)
    assert (message, list(texts), fits.tolist()) == (LINES[0].message, [memory_text(LINES[0])], [True])
    assert line_queries([], 60, seed=1) == []


def told(asked):
    return [(each.message, list(each.texts), each.fits.tolist()) for each in asked]


def test_the_seed_alone_decides_what_is_asked_among_what():
    for ask in (lambda seed: line_queries(LINES, 5, seed), lambda seed: question_queries(QUESTIONS, seed)):
        one, again, other = (told(ask(seed)) for seed in (1, 1, 2))
        assert one == again != other


@pytest.mark.parametrize("count", [0, 1, 2, 7, 40])
def test_every_statement_stands_in_exactly_one_passage_and_that_one_fits_its_question(count):
    asked = question_queries(QUESTIONS[:count], seed=1)
    assert [each.message for each in asked] == [row["question"] for row in QUESTIONS[:count]]
    for each, row in zip(asked, QUESTIONS, strict=False):
        assert [row["statement"] in passage for passage in each.texts] == each.fits.tolist()
        assert each.fits.sum() == 1 and each.texts == asked[0].texts
        assert all(1 <= passage.count(".") <= LONGEST_PASSAGE for passage in each.texts)


def test_where_there_is_nothing_to_calibrate_on_the_settings_threshold_holds(settings, parts):
    made = calibrated(settings, 1, parts, [], [], [])
    assert made == {
        "memories": {"ranker": "sbert", "mix": None, "threshold": settings.threshold, "lines": 0},
        "documents": UNCALIBRATED,
    }


@pytest.mark.parametrize("count", [1, FEWEST - 1])
@pytest.mark.parametrize("ranker", ["hybrid", "sbert", "dpr", "tfidf", "bm25"])
def test_too_few_lines_leave_the_threshold_and_no_mix(settings, parts, ranker, count):
    named = settings.model_copy(update={"ranker": ranker})
    made = calibrated(named, 1, parts, LINES[:count], [], QUESTIONS[: 2 * FEWEST - 1])
    assert made["memories"] == {
        "ranker": "sbert" if ranker == "hybrid" else ranker, "mix": None, "threshold": settings.threshold,
        "lines": count,
    }  # fmt: skip
    assert made["documents"] == UNCALIBRATED


def test_a_mix_needs_memories_that_do_not_fit(settings, parts):
    hybrid = settings.model_copy(update={"ranker": "hybrid"})
    same = [line._replace(group="one") for line in LINES]
    assert calibrated(hybrid, 1, parts, same, [], [])["memories"]["mix"] is None


def test_the_users_lines_and_the_topics_count_but_are_no_candidates_for_each_other(settings, parts):
    made = calibrated(settings, 1, parts, LINES[:10], LINES[10:], [])
    assert made["memories"]["lines"] == 20
    alike = [line._replace(group=f"other {line.group}") for line in LINES]  # would be false candidates
    assert calibrated(settings, 1, parts, LINES, alike, [])["memories"]["threshold"] == pytest.approx(
        calibrated(settings, 1, parts, LINES, [], [])["memories"]["threshold"]
    )


@pytest.mark.parametrize(("max_false", "lines"), [(0.2, 10), (0.05, 20)])
def test_the_threshold_may_be_of_the_slices_lines_alone_where_they_are_enough_for_the_bound(
    settings, parts, max_false, lines
):
    alone = settings.model_copy(update={"calibration": "slices", "max_false": max_false})
    made = calibrated(alone, 1, parts, LINES[:10], LINES[10:], [])["memories"]
    assert made["lines"] == lines
    everything = alone.model_copy(update={"calibration": "all"})
    topics = LINES[10:] if lines == 20 else []
    assert made == calibrated(everything, 1, parts, LINES[:10], topics, [])["memories"]


def test_documents_may_have_rankers_of_their_own(settings, parts):
    made = calibrated(settings, 1, parts, LINES, [], QUESTIONS, dict.fromkeys(parts, Noise()))
    assert made["memories"] == calibrated(settings, 1, parts, LINES, [], QUESTIONS)["memories"]
    assert made["documents"] != calibrated(settings, 1, parts, LINES, [], QUESTIONS)["documents"]


@pytest.mark.parametrize("ranker", ["hybrid", "sbert", "dpr", "tfidf", "bm25"])
def test_what_is_calibrated_retrieves_what_fits_and_nothing_where_nothing_does(settings, parts, ranker):
    made = calibrated(settings.model_copy(update={"ranker": ranker}), 1, parts, LINES, [], QUESTIONS)
    assert made["memories"]["ranker"] == ranker and made["documents"]["ranker"] == "hybrid"
    assert made["documents"]["mix"]["weights"].keys() == set(PASSAGES)
    assert (made["memories"]["mix"] or {"weights": dict.fromkeys(HYBRID)})["weights"].keys() == set(HYBRID)
    for kind, asked in (("memories", line_queries(LINES, 60, 1)), ("documents", question_queries(QUESTIONS, 1)[1::2])):
        ranking = made[kind]
        scorer = chosen(ranking["ranker"], ranking["mix"], parts)
        assert ranking["lines"] == len(asked)
        false = 0
        for each in asked:
            made_scores = scorer.scores(each.message, each.texts)
            (found,) = best(made_scores, ranking["threshold"], 1)
            assert each.fits[found.place]
            false += bool(best(np.where(each.fits, -np.inf, made_scores), ranking["threshold"], 1))
        assert (false + 1) / (len(asked) + 1) <= settings.max_false
