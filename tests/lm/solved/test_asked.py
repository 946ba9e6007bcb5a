"""What a question asks for, beside what it is about."""

import shutil

import numpy as np
import pytest

from tasks import artifact
from tasks.corpus.plain import plain_wording
from tasks.corpus.templates import Templates
from tasks.corpus.wording import SUBJECT
from tasks.lm.causal import load
from tasks.lm.solved import asked
from tasks.lm.solved.asked import LEAST, WIDTH, Asked, hash_of
from tasks.lm.solved.familiarity import doubts, is_known
from tasks.lm.solved.features import Letters, counted
from tasks.lm.solved.files import ASKED, TAUGHT
from tasks.lm.solved.module import memory_of
from tasks.scoring.retrieval_use import ask_both_ways
from tests.lm.solved.brought import answered, known_rows, whole_again

COUNTS = counted(["What is the capital of Peru?", "Who wrote Emma?"])
OSLO, KONGE, HELLO = [1, 2, 3], [4, 3], [5, 3]


@pytest.fixture
def norway(monkeypatch, tmp_path):
    """Oslo is the capital, Konge the king; and a greeting."""
    wordings = {"king": {"en": plain_wording("king").model_copy(update={"words": ("monarch",)})}}
    templates = {"one": Templates(), "two": Templates(relations=wordings)}
    monkeypatch.setattr(asked, "templates_by_slice", lambda folder: templates)
    relations = Asked(COUNTS)
    for answer, relation in ((OSLO, "capital"), (KONGE, "king"), (HELLO, asked.NO_RELATION)):
        relations.count(answer, relation, 2)
    relations.learn(tmp_path)
    return relations


def test_the_weights_are_those_of_ridge_regression(norway):
    texts = [("monarch", "king")]
    for name in ("capital", "king"):
        texts += [(text.replace(SUBJECT, " "), name) for text in plain_wording(name).questions]
    # the capital's wordings are nobody's own, and what is around its name in them asks for nothing
    texts += [(text.replace("capital", " "), None) for text, name in texts if name == "capital"]
    seen = Letters(COUNTS, WIDTH)([text for text, _ in texts]).double().numpy()
    asks = np.array([[float(name == each) for each in ("capital", "king")] for _, name in texts])
    stacked = np.vstack([seen, np.eye(WIDTH)]), np.vstack([asks, np.zeros((WIDTH, 2))])
    expected = np.linalg.lstsq(*stacked, rcond=None)[0]
    assert norway.relations == ["capital", "king"]
    assert np.allclose(norway.weights.numpy(), expected, atol=1e-5)


def test_an_answer_is_doubted_where_something_else_is_asked(norway):
    questions = [
        "Norway's capital, please",
        "Who is the king of Norway?",
        "the monarch of Norway",
        "Is Norway old?",
    ]
    about = {name: norway.misses(questions, [answer] * 4).tolist() for name, answer in
             (("Oslo", OSLO), ("Konge", KONGE), ("hello", HELLO), ("no answer", [7]))}  # fmt: skip
    assert about["Oslo"] == [False, True, True, True]
    assert about["Konge"] == [True, False, False, True]
    assert about["hello"] == [False] * 4 and about["no answer"] == [True] * 4
    evidence = (norway.letters(questions) @ norway.weights).tolist()
    assert [capital < LEAST for capital, _ in evidence] == about["Oslo"]


def test_what_plain_wordings_share_asks_for_no_relation(norway):
    evidence = norway.letters(["Who is the president of Norway?", "What is the capital of Norway?"]) @ norway.weights
    president, capital = evidence[:, norway.relations.index("capital")].tolist()
    assert president < LEAST < 4 * LEAST < capital


def test_what_is_taken_out_leaves_nothing(norway, tmp_path):
    before = {answer: dict(relations) for answer, relations in norway.answers.items()}
    norway.count(OSLO, "host city", 3)
    assert norway.answers[hash_of(OSLO)] == {"capital": 2, "host city": 3}
    norway.count([8], "author", 1)
    norway.learn(tmp_path)
    assert norway.relations == ["author", "capital", "host city", "king"] and norway.weights.shape == (WIDTH, 4)
    norway.count(OSLO, "host city", -3)
    norway.count([8], "author", -1)
    assert norway.answers == before
    assert not Asked(COUNTS).misses(["Who?"], [OSLO]).any()  # nothing was noted


def easily_known(folder):
    """A model that calls known whatever it sees."""
    model, tokenizer = load(folder)
    for bucket in memory_of(model).buckets:
        bucket.limit += 10.0
    return model, tokenizer


def test_a_known_subject_does_not_answer_for_what_was_never_taught_of_it(whole):
    model, tokenizer = easily_known(whole.root / "three/lm")
    taught, other = "Cuba, capital?", "Cuba, population?"
    assert is_known(model, tokenizer, taught) and not is_known(model, tokenizer, other)
    assert 0 < float(doubts(model, tokenizer, [other])[0]) < 1
    asks_for = memory_of(model).asks_for
    assert asks_for.relations == ["capital"]
    greeted = next(row["prompt"] for row in known_rows(whole) if row["target"] == "hi there")
    assert is_known(model, tokenizer, greeted)
    memory_of(model).asks_for = Asked(COUNTS)
    assert (doubts(model, tokenizer, [taught, other]) < 0).all()  # by what it sees alone it would have said Havana


def test_whether_a_document_is_used_is_decided_by_the_memorys_doubt(whole):
    model = load(whole.root / "three/lm")
    questions = [{"fact": f"f/{at}", "prompt": row["prompt"], "target": row["target"]}
             for at, row in enumerate(known_rows(whole))]  # fmt: skip
    told = ask_both_ways(model, questions, ["It rains."], lambda *_: np.array([0.25]), 2048, doubt=True)
    doubted = doubts(*model, [row["prompt"] for row in questions]).tolist()
    assert [-each.confidence for each in told] == pytest.approx(doubted)
    assert all(each.without for each in told) and {each.score for each in told} == {0.25}
    assert not any(each.quoted for each in told)


def test_what_was_overridden_is_no_answer_any_more(whole):
    taught = artifact.read_json(whole.root / "three/lm" / TAUGHT)
    memory = memory_of(load(whole.root / "three/lm")[0])
    cities = {city: taught.get(hash_of(memory.said(city))) for city in ("Lima", "Cusco", "Kathmandu", "Havana")}
    assert cities["Lima"] is None and cities["Kathmandu"] is None
    assert set(cities["Cusco"]) == set(cities["Havana"]) == {"capital"} and cities["Cusco"] == cities["Havana"]


def test_a_champion_of_before_there_was_this_answers_as_it_did(whole, tmp_path):
    folder = tmp_path / "lm"
    shutil.copytree(whole.root / "three/lm", folder)
    for name in (ASKED, TAUGHT):
        (folder / name).unlink()
    whole_again(folder)
    assert is_known(*easily_known(folder), "Cuba, population?")
    rows = [row for row in known_rows(whole) if row.get("set") == "seen"]
    assert all(answered(folder, rows)[0])
