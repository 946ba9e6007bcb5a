"""The questions that no template has, and how an answer to one is judged."""

import pytest

from benchmarks.everyday_questions import RAW, Question, taught, untaught, verdict
from tasks.corpus.templates import read_templates
from tasks.corpus.text import folded
from tasks.corpus.wording import SUBJECT
from tasks.memory.turn import NO_ANSWER_KO, UNKNOWN


@pytest.mark.parametrize(("language", "count", "without_answer"), [("en", 100, 50), ("ko", 50, 25)])
def test_each_question_has_an_answer_and_is_in_no_template(language, count, without_answer):
    questions, others = taught(language), untaught(language)
    assert len({question.text for question in questions}) == count
    assert len({question.text for question in others}) == without_answer and all(each.answer is None for each in others)
    assert all(question.answer for question in questions)
    templates = read_templates(RAW / "relations.yaml")
    wordings = [each[language] for each in templates.relations.values()]
    asked = {text for each in wordings for text in (*each.questions, each.paraphrase, *each.everyday)}
    around = [folded(text).split(folded(SUBJECT)) for text in asked]
    for question in questions:
        text = folded(question.text)
        assert not any(text.startswith(before) and text.endswith(behind) for before, behind in around), question


def test_an_answer_is_right_unknown_or_wrong():
    question = Question("Who runs Nvidia?", "Jensen Huang")
    said = {"Jensen Huang": "right", "It is jensen huang.": "right", "Jensen": "wrong", UNKNOWN: "unknown",
            NO_ANSWER_KO: "unknown", "": "wrong"}  # fmt: skip
    assert {text: verdict(text, question.answer) for text in said} == said
    assert verdict("Jensen Huang", None) == "wrong" and verdict(UNKNOWN, None) == "unknown"
