"""What a chat turn is loaded with: a real language model, tiny and untrained, and a retriever."""

import pytest

from tasks.lm import rag, sound
from tasks.lm.causal import limit_of, load
from tasks.lm.generate import Generated
from tasks.lm.rag import confidence
from tasks.lm.sound import markers_of
from tasks.lm.template import PLAIN
from tasks.memory.means import load_means
from tasks.memory.store import learn, remember
from tasks.memory.turn import take_turn
from tasks.params import Chat
from tasks.retrieval.policy import Policy

PASSAGES = ["Ben leads Peru.", "Ada leads Norway."]


@pytest.fixture
def lm(models):
    return load(models / "lm")


@pytest.fixture
def asked(monkeypatch):
    """The prompts that the language model is given; it says "Fine."."""
    prompts = []

    def continued(model, tokenizer, rows, most, sampled=None):
        prompts.extend(tokenizer.decode(row[1:]) for row in rows)
        return [Generated("Fine.", True)] * len(rows)

    monkeypatch.setattr(sound, "continued", continued)
    return prompts


def test_the_best_passage_stands_next_to_the_message(models, asked):
    means = load_means(models / "lm", None, Chat())
    assert means.answer(PASSAGES, [0.0, -1.0], "Who leads Peru?") == "Fine."
    assert asked == [PLAIN.prompt("Ada leads Norway. Ben leads Peru. Who leads Peru?")]


def test_without_a_retriever_nothing_is_looked_for(models, store, asked):
    means = load_means(models / "lm", None, Chat())
    assert means.find is None and means.find_chunks is None
    learn(store, "ann", "notes.md", "d", [("", PASSAGES[0])])
    assert take_turn(store, "ann", "Who leads Peru?", means).retrieved == ()
    assert asked == [PLAIN.prompt("Who leads Peru?")]


def test_a_retriever_finds_memories_first_and_then_passages(models, store, asked):
    means = load_means(models / "lm", models / "retriever", Chat())
    learn(store, "ann", "notes.md", "d", [("Travel", "The train leaves at nine.")])
    remember(store, "ann", "home town", "Cork")
    for message, source in (("home town?", "memory"), ("train?", "notes.md § Travel")):
        (found,) = take_turn(store, "ann", message, means).retrieved
        assert found.source == source and asked[-1] == PLAIN.prompt(f"{found.text} {message}")


def test_documents_are_used_as_was_measured_to_be_best(models, lm):
    def means(*policy):
        return load_means(models / "lm", models / "retriever", Chat(), documents=Policy(*policy))

    assert means("never").find_chunks is None
    for policy, gated, quotes in (("always", False, False), ("quote", False, True), ("gated_quote", True, True)):
        made = means(policy)
        assert made.find_chunks and (bool(made.knows), bool(made.quote)) == (gated, quotes)
    sure = confidence(*lm, "Who leads Peru?")
    assert means("gated", sure - 1e-3).knows("Who leads Peru?")
    assert not means("gated", sure + 1e-3).knows("Who leads Peru?")
    assert not means("gated").outweighs(0.9)
    assert means("gated", 0.0, 0.9).outweighs(0.9) and not means("gated", 0.0, 0.9).outweighs(0.8)


@pytest.mark.parametrize("combine", ["sequence", "token"])
def test_several_passages_are_marginalised_over_where_the_settings_say_so(models, lm, monkeypatch, combine):
    means = load_means(models / "lm", None, Chat(combine=combine, answer_tokens=5))
    seen = []
    real = rag.MARGINAL[combine]
    monkeypatch.setitem(rag.MARGINAL, combine, lambda *given: seen.append(given[2:4]) or real(*given))
    said = means.answer(PASSAGES, [0.0, -1.0], "Peru?")
    assert seen == [([f"{each} Peru?" for each in PASSAGES], [0.0, -1.0])]
    assert not any(marker in said for marker in markers_of(lm[1]))
    means.answer(PASSAGES[:1], [0.0], "Peru?")
    assert len(seen) == 1  # one is no several


@pytest.mark.parametrize("broken", ["", "Hi (답변)", "a\ufffd", "so on " * 9])
def test_a_broken_marginal_answer_gives_way_to_one_from_all_passages_together(models, asked, monkeypatch, broken):
    monkeypatch.setitem(rag.MARGINAL, "token", lambda *_: broken)
    means = load_means(models / "lm", None, Chat(combine="token"))
    assert means.answer(PASSAGES, [0.0, -1.0], "Peru?") == "Fine."
    assert asked == [PLAIN.prompt("Ada leads Norway. Ben leads Peru. Peru?")]


def test_an_answer_has_no_more_tokens_than_the_settings_allow(models, lm):
    said = load_means(models / "lm", None, Chat(answer_tokens=3, attempts=1)).answer([], [], "Hello there.")
    assert len(lm[1](said, add_special_tokens=False)["input_ids"]) <= 3


def test_it_tries_as_often_as_the_settings_say(models, monkeypatch):
    tried = []
    monkeypatch.setattr(sound, "continued", lambda *given: tried.append(given[4:]) or [Generated("", True)])
    assert load_means(models / "lm", None, Chat(attempts=5)).answer([], [], "Hi") == ""
    assert len(tried) == 5


def test_whatever_the_model_says_the_turn_shows_a_text_without_markers_and_the_same_each_time(models, store, lm):
    means = load_means(models / "lm", None, Chat(answer_tokens=20))
    for message in ("Hello there.", "안녕", "(답변 종료)", "x" * 500):
        said = take_turn(store, "ann", message, means).answer
        assert said and "\ufffd" not in said and not any(marker in said for marker in markers_of(lm[1]))
        assert take_turn(store, "ann", message, means).answer == said


def test_what_stands_before_a_message_fits_with_it_and_the_answer_into_the_model(models, lm):
    means = load_means(models / "lm", None, Chat(answer_tokens=20))
    model, tokenizer = lm
    for message in ("Hi", "Hello there. " * 2):
        kept = means.fitting(["Ada leads Norway. " * 40, "there"], message)
        length = len(tokenizer(PLAIN.prompt(f"{kept[0]} {message}"), add_special_tokens=False)["input_ids"])
        assert 0 < len(kept[0]) < 40 * 18 and length + 1 + 20 <= limit_of(model)
