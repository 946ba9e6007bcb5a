"""A document is used where it was measured to help, and what was chosen on one half is counted on the other."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tasks import artifact
from tasks.corpus.slices import Examples, valid_facts
from tasks.dataset import dataset
from tasks.evaluate import evaluate
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.causal import build
from tasks.lm.generate import answer
from tasks.lm.rag import confidence
from tasks.lm.training import Schedule, train
from tasks.origin import origin
from tasks.params import Dataset, Evaluate
from tasks.pretrain import pretrain
from tasks.report import report
from tasks.retrieval.policy import Policy
from tasks.retrieval.rankers import Bm25
from tasks.scoring import retrieval_use as module
from tasks.scoring.retrieval_use import (
    HURT,
    LIMIT,
    NEVER,
    AskedBothWays,
    accuracy,
    ask_both_ways,
    chosen_gate,
    compare_policies,
    documents_of,
    has,
    policy_of,
    questions_of,
    retrieval_use,
)
from tests.lm.conftest import ROWS, SETTINGS
from tests.scoring.made import made_scores, with_stages, write_scores

SURE, UNSURE = -0.1, -3.0
HELPED = {"without": False, "with_document": True}  # a fact that the model does not know
HARMED = {"without": True, "with_document": False}  # one that it knows, and a document distracts it
EITHER, NEITHER = {"without": True, "with_document": True}, {"without": False, "with_document": False}
DOCUMENTS = [f"{row['target']} leads that land." for row in ROWS]


def answered(told, confidence, count=40, quoted=False, score=0.5, name="a"):
    given = {"confidence": confidence, "quoted": quoted, "score": score, **told}
    return [AskedBothWays(fact=f"{name}/{number}", **given) for number in range(count)]


def test_never_always_and_gated_are_counted_by_hand():
    group = [
        AskedBothWays("a/1", True, False, False, -0.5, 0.9), AskedBothWays("a/2", True, True, True, -1.0, 0.7),
        AskedBothWays("a/3", False, True, True, -1.5, 0.8), AskedBothWays("a/4", False, False, True, -2.0, 0.2),
    ]  # fmt: skip
    assert accuracy(group, NEVER) == 2 / 4
    assert accuracy(group, Policy("always")) == 2 / 4
    assert accuracy(group, Policy("quote")) == 3 / 4
    assert accuracy(group, Policy("gated", -1.0)) == 3 / 4
    assert accuracy(group, Policy("gated", -2.0)) == 2 / 4
    assert accuracy(group, Policy("gated_quote", -1.0)) == 4 / 4
    assert accuracy(group, Policy("gated_quote", -2.0)) == 2 / 4
    assert accuracy(group, Policy("gated_quote", -2.0, 0.9)) == 1 / 4  # the first is sure, and yet the document is used
    assert accuracy(group, Policy("gated_quote", -2.0, 0.8)) == 2 / 4
    assert accuracy(group, Policy("gated", -1.0, 0.8)) == 2 / 4


@pytest.mark.parametrize(
    ("text", "expected", "there"),
    [
        ("The capital is Oslo.", "Oslo", True),
        ("the capital is oslo", "Oslo", True),
        ("Oslofjord", "Oslo", False),
        ("In 120 days", "12", False),
        ("It has 12.", "12", True),
        ("노르웨이의 수도는 오슬로입니다.", "오슬로", True),
        ("새오슬로", "오슬로", False),
        ("C++ (1983)", "C++", True),
        ("", "Oslo", False),
    ],
)
def test_an_answer_is_right_if_it_has_the_expected_one_in_it_as_a_word(text, expected, there):
    assert has(text, expected) == there


def test_the_threshold_parts_what_the_model_knows_from_what_it_does_not():
    groups = [answered(HARMED, SURE), answered(HELPED, UNSURE)]
    assert UNSURE < chosen_gate("gated", dict(zip(("known", "unseen"), groups, strict=True))).confidence <= SURE
    told = compare_policies(*groups)
    assert told["best"] == "gated"
    for group, never, always in (("known", 1, 0), ("unseen", 0, 1)):
        assert told[group].items() >= {"never": never, "always": always, "gated": 1}.items()
        assert 10 < told[group]["rows"] < 30


def test_a_model_that_cannot_read_quotes_what_it_does_not_know():
    told = compare_policies(answered(HARMED, SURE), answered(NEITHER, UNSURE, quoted=True))
    assert told["best"] == "gated_quote" and told["known"]["gated_quote"] == told["unseen"]["gated_quote"] == 1
    assert told["known"]["quote"] == 0 and told["unseen"]["gated"] == 0
    assert policy_of({"retrieval_use": told}) == ("gated_quote", *told["gates"]["gated_quote"].values())


def test_what_a_model_is_sure_of_though_it_is_overridden_is_quoted_from_documents_that_fit_better():
    known = [*answered(HARMED, SURE, score=0.2), *answered(EITHER, SURE, quoted=True, score=0.7, name="b")]
    told = compare_policies(known, answered(NEITHER, SURE, quoted=True, score=0.7, name="c"))
    assert told["known"]["gated_quote"] == told["unseen"]["gated_quote"] == 1
    assert told["best"] == "gated_quote" and told["gates"]["gated_quote"]["score"] == 0.7


def test_no_policy_is_chosen_that_makes_more_of_what_is_known_wrong_than_is_allowed():
    distracted = answered(HARMED, SURE, 10, score=0.9, name="b")
    helped = answered(NEITHER, SURE, 400, quoted=True, score=0.8, name="c")
    for others, used in ((200, False), (1000, True)):
        told = compare_policies([*distracted, *answered(EITHER, SURE, others, quoted=True)], helped)
        assert told["best"] == ("quote" if used else "never")
        assert (told["unseen"]["gated_quote"] > 0) == used
        assert told["known"]["gated_quote"] >= 1 - 2 * HURT


def test_a_memorys_own_limit_is_kept_and_only_the_score_is_chosen():
    known, unseen = answered(HARMED, 0.5, score=0.2), answered(NEITHER, -0.5, quoted=True, score=0.1, name="c")
    told = compare_policies(known, unseen, LIMIT)
    assert told["gates"] == {name: {"confidence": LIMIT, "score": None} for name in ("gated", "gated_quote")}
    assert told["known"]["gated_quote"] == told["unseen"]["gated_quote"] == 1
    doubted = compare_policies(answered(HARMED, -0.5), [], LIMIT)  # where it doubts what it knows, nothing is better
    assert doubted["best"] == "never" and doubted["known"]["gated"] == 0


@pytest.mark.parametrize(
    ("known", "unseen", "best"),
    [
        (answered(HARMED, SURE), answered(NEITHER, UNSURE), "never"),
        (answered(HARMED, SURE), [], "never"),
        (answered(EITHER, SURE), answered(HELPED, SURE), "always"),
        (answered(EITHER, UNSURE), answered(NEITHER, UNSURE), "never"),  # a document costs time: it must be worth it
    ],
)
def test_the_best_is_the_simplest_of_equally_good_ones(known, unseen, best):
    assert compare_policies(known, unseen)["best"] == best


def test_the_threshold_is_chosen_on_other_facts_than_it_is_counted_on(monkeypatch):
    seen = []
    real = chosen_gate
    monkeypatch.setattr(
        module, "chosen_gate", lambda name, groups, limit: seen.extend(groups.values()) or real(name, groups, limit)
    )
    counted = []
    measured = accuracy

    def count(group, policy):
        counted.append(group)
        return measured(group, policy)

    monkeypatch.setattr(module, "accuracy", count)
    twice = [*answered(HARMED, SURE), *answered(HELPED, UNSURE)]  # two questions about every fact
    compare_policies(twice, [])
    choosing = {each.fact for group in seen for each in group}
    assert choosing
    sides = [{each.fact for each in group} for group in counted]
    other = next(side for side in sides if side.isdisjoint(choosing))  # what the figures are of
    assert all(side in (choosing, other) for side in sides) and len(choosing) + len(other) == 40


def test_with_too_few_facts_nothing_is_said():
    assert compare_policies([], []) is None
    assert compare_policies(answered(HARMED, SURE, 1), []) is None
    told = compare_policies(answered(HARMED, SURE), answered(HELPED, UNSURE, 1))
    assert told["known"] and told["unseen"] is None


def test_the_scores_are_json_whatever_was_best():
    for known in (answered(HARMED, SURE), answered(HELPED, SURE), answered(NEITHER, SURE)):
        told = compare_policies(known, [])
        assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_the_chats_policy_is_the_best_one_and_documents_are_used_where_nothing_was_measured():
    told = compare_policies(answered(HARMED, SURE), answered(HELPED, UNSURE))
    assert policy_of({"retrieval_use": told}) == ("gated", *told["gates"]["gated"].values())
    assert policy_of({}) == Policy() and Policy().name == "always"


def test_where_only_what_is_known_was_asked_documents_are_used_for_what_a_memory_doubts():
    told = compare_policies(answered(HARMED, SURE), [])
    assert told["best"] == "never"
    older = {"known": told["known"], "unseen": told["known"], "confidence": {"gated": -1.0}, "best": "gated"}
    for measured in (told, older):
        assert policy_of({"retrieval_use": measured}) == Policy()
        assert policy_of({"retrieval_use": measured, "memory": {}}) == Policy("gated_quote", 0.0, None)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A tiny model that knows three answers by heart, and three others only after the right document."""
    rows = list(ROWS[:3])
    for row, document in zip(ROWS[3:], DOCUMENTS[3:], strict=True):
        unknown = [row["prompt"], f"{DOCUMENTS[0]} {row['prompt']}"]
        rows.append({**row, "prompt": f"{document} {row['prompt']}"})
        rows += [{**row, "prompt": prompt, "target": "Nobody"} for prompt in unknown]
    model, tokenizer = build(SETTINGS, [f"{row['prompt']} {row['target']}" for row in rows], seed=1)
    data = Mixture([Part(encode(rows, tokenizer, 64), 1.0)], 96, 250, 3, model.device)
    train(model, data, Schedule(250, 1e-2, 0.1), scratch=tmp_path_factory.mktemp("s"), log=lambda *_: None, seed=0)
    return model, tokenizer


def right_one(message, texts):
    """Ranks the document of the question's own fact first."""
    place = next(place for place, row in enumerate(ROWS) if row["prompt"] == message)
    return np.array([text == DOCUMENTS[place] for text in texts], dtype=float)


def test_every_question_is_asked_without_a_document_and_with_the_best_ranked_one(taught):
    told = ask_both_ways(taught, ROWS, DOCUMENTS, right_one, 256)
    assert [each.fact for each in told] == [row["fact"] for row in ROWS]
    assert [each.without for each in told] == [True] * 3 + [False] * 3
    assert [each.with_document for each in told][3:] == [True] * 3
    for row, each in zip(ROWS, told, strict=True):
        assert each.without == (answer(*taught, row["prompt"]) == row["target"])
    assert told[0].confidence == pytest.approx(confidence(*taught, ROWS[0]["prompt"]), abs=1e-5)


def test_a_wrong_document_is_taken_if_it_is_ranked_best(taught):
    wrong = ask_both_ways(taught, ROWS[3:], DOCUMENTS, lambda message, texts: np.eye(len(texts))[0], 256)
    assert not any(each.with_document for each in wrong)


def a_slice(name, subjects, replaces=None):
    facts, test = [], []
    for number, subject in enumerate(subjects):
        fact = f"{name}/{number}"
        facts.append({"id": fact, "replaces": replaces if number == 0 else None, "category": "new"})
        for kind, prompt, target in (
            ("seen", f"{subject}?", subject), ("paraphrase", f"Which {subject}?", subject),
            ("statement", "", f"It is {subject}."),
        ):  # fmt: skip
            test.append({"id": f"{fact}/en/{kind}", "set": kind, "prompt": prompt, "target": target, "fact": fact,
                         "stale": None})  # fmt: skip
    test.append({"id": f"{name}/examples/1", "set": "paraphrase", "prompt": "x", "target": "y", "fact": None,
                 "stale": None})  # fmt: skip
    return Examples(name=name, facts=facts, test=test)


SLICES = [a_slice("a", ["one", "two", "three"]), a_slice("b", ["uno", "dos"], {"id": "a/1", "object": "two"})]


def test_asked_are_reworded_questions_about_facts_that_are_true():
    valid = valid_facts(SLICES)
    asked_for = [row["prompt"] for row in questions_of(SLICES, valid, 100)]
    assert asked_for == ["Which one?", "Which three?", "Which uno?", "Which dos?"]
    assert len(questions_of(SLICES, valid, 2)) == 2
    assert {row["fact"] for row in questions_of(SLICES[1:], valid, 100)} == {"b/0", "b/1"}


def test_the_documents_are_the_statements_of_all_true_facts_and_always_of_those_asked_for(monkeypatch):
    valid = valid_facts(SLICES)
    questions = questions_of(SLICES, valid, 100)
    assert documents_of(SLICES, valid, questions) == ["It is one.", "It is three.", "It is uno.", "It is dos."]
    stating = [replace(each, train=[{"prompt": "", "target": row["target"]} for row in each.test]) for each in SLICES]
    assert documents_of(stating, valid, questions[:1]) == documents_of(
        SLICES, valid, questions[:1]
    )  # trained on or not
    monkeypatch.setattr(module, "DOCUMENTS", 2)
    few = documents_of(SLICES, valid, questions[:1])
    assert few[0] == "It is one."
    assert 2 <= len(few) <= 3


def test_the_model_before_is_asked_about_the_newest_slice_and_the_model_about_all(taught, monkeypatch):
    calls = []

    def ask(model, questions, documents, rank, batch_tokens, doubt):
        calls.append((model[0], [row["fact"] for row in questions], len(documents)))
        return answered(HARMED, SURE)

    monkeypatch.setattr(module, "ask_both_ways", ask)
    settings = Evaluate(batch_tokens=256, samples=1, retrieval=100)
    told = retrieval_use(("own", None), ("before", None), SLICES, valid_facts(SLICES), right_one, settings)
    assert calls == [("own", ["a/0", "a/2", "b/0", "b/1"], 4), ("before", ["b/0", "b/1"], 4)]
    assert told["unseen"]
    assert retrieval_use(("own", None), None, SLICES[:1], valid_facts(SLICES[:1]), right_one, settings)[
        "unseen"
    ] is None  # fmt: skip


def test_without_facts_nothing_is_asked():
    texts = [Examples(name="t", test=[{"id": "t/texts/1", "set": "statement", "prompt": "", "target": "x", "fact": None,
                                       "stale": None}])]  # fmt: skip
    settings = Evaluate(batch_tokens=256, samples=1)
    assert retrieval_use(("own", None), None, texts, {}, None, settings) is None


def test_a_newest_slice_without_facts_leaves_what_is_known_to_ask(taught):
    slices = [a_slice("a", [f"town{number}" for number in range(8)]), Examples(name="b")]
    settings = Evaluate(batch_tokens=256, samples=1, retrieval=100)

    def rank(message, texts):
        return np.zeros(len(texts))

    found = retrieval_use(taught, taught, slices, valid_facts(slices), rank, settings)
    assert found["known"]["rows"] > 0 and found["unseen"] is None


@pytest.fixture(scope="module")
def timeline(tmp_path_factory):
    """Two slices of twelve facts each, a base that has hardly read them, and a retriever's folder."""
    root = tmp_path_factory.mktemp("timeline")
    (root / "relations.yaml").write_text("names: {}\nrelations: {}\n")
    origin(root / "relations.yaml", root / "examples/base")
    for name, before in (("one", "base"), ("two", "one")):
        (root / "raw" / name).mkdir(parents=True)
        facts = "".join(f"{name}{number},code,c{number}\n" for number in range(12))
        (root / "raw" / name / "facts.csv").write_text(f"subject,relation,object\n{facts}")
        examples = root / "examples"
        dataset(Dataset(languages=("en",), chat_repeats=1), root / "raw" / name, examples / before, examples / name)
    small = SETTINGS.model_copy(update={"positions": 96})
    pretrain(small, 1, root / "examples/one", root / "lm", root / "scratch", lambda *_: None)
    with artifact.writing(root / "retriever") as folder:
        artifact.write_json(folder / "metrics.json", {"lines": 0})
    return root


def evaluated(root, out, name, rows=40, **folders):
    settings = Evaluate(batch_tokens=1024, samples=1, retrieval=rows)
    evaluate(settings, root / "examples" / name, root / "lm", out, previous=root / "lm", **folders)
    return artifact.read_json(out / "scores.json")


def test_evaluation_measures_it_for_slices_with_a_retriever(timeline, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.evaluate._ranker", lambda retriever: Bm25().scores)
    first, second = (
        evaluated(timeline, tmp_path / name, name, retriever=timeline / "retriever") for name in ("one", "two")
    )
    assert first["retrieval_use"]["unseen"] is None  # the base has read what the first slice brings
    told = second["retrieval_use"]
    assert told["known"]["rows"] > told["unseen"]["rows"] > 0
    again = evaluated(timeline, tmp_path / "again", "two", retriever=timeline / "retriever")
    assert again == second


def test_evaluation_leaves_it_out_where_it_is_switched_off_and_for_a_reference(timeline, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.evaluate._ranker", lambda *_: pytest.fail("nothing is to be ranked"))
    off = evaluated(timeline, tmp_path / "off", "two", rows=0, retriever=timeline / "retriever")
    assert "retrieval_use" not in off
    assert "retrieval_use" not in evaluated(timeline, tmp_path / "reference", "two")


def test_the_report_tells_of_it_where_it_was_measured(tmp_path):
    told = compare_policies(answered(HARMED, SURE), answered(HELPED, UNSURE))
    for place, name in enumerate(("one", "two")):
        scores = with_stages(made_scores(place, ("one", "two")))
        if place:
            scores["retrieval_use"] = told
        write_scores(tmp_path / "evaluation" / name, scores)
    report(tmp_path / "evaluation", tmp_path / "plots", tmp_path / "page.html", tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["retrieval_use"] == {"two": told}
    page = (tmp_path / "page.html").read_text()
    assert "With or without a document" in page
    for group, never, always in (("known", "100.0", "0.0"), ("unseen", "0.0", "100.0")):
        cells = ["two", group, never, always, "100.0"]
        assert "".join(f"<td>{cell}</td>" for cell in cells) in page


def test_the_report_says_nothing_of_what_was_not_measured(tmp_path):
    write_scores(tmp_path / "evaluation/one", with_stages(made_scores(0, ("one",))))
    report(tmp_path / "evaluation", tmp_path / "plots", tmp_path / "page.html", tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["retrieval_use"] is None
    assert "With or without a document" not in (tmp_path / "page.html").read_text()
