"""How a relation is asked for that nobody has written templates for."""

import pytest

from tasks.corpus.plain import plain_name, plain_wording
from tasks.corpus.templates import filled


def asked(relation, subject="Peru"):
    wording = plain_wording(relation)
    return {filled(each, subject) for each in (*wording.questions, wording.paraphrase)}


@pytest.mark.parametrize("relation", ["(답{}변)", "{답변}", "<{|endoftext|}>", "{}", "{subject}", "_"])
def test_odd_brackets_make_templates_and_no_marker(relation):
    assert plain_wording(relation).questions and plain_name(relation)


@pytest.mark.parametrize(
    ("relation", "question"),
    [
        ("capital", "What is the capital of Peru?"),
        ("capital", "Who is Peru's capital?"),  # nobody said that it is no person
        ("home_ground", "What is the home ground of Peru?"),
        ("prime minister", "Who is the prime minister of Peru?"),
        ("opening hours", "What are Peru's opening hours?"),
        ("price", "How much does Peru cost?"),
        ("plays for", "Who does Peru play for?"),
        ("carries out for", "What does Peru carry out for?"),
        ("teaches at", "What does Peru teach at?"),
        ("is based in", "What is Peru based in?"),
        ("born in", "Do you know who Peru is born in?"),
        ("member of", "What is Peru member of?"),
    ],
)
def test_a_noun_and_a_verb_are_asked_for_as_people_do(relation, question):
    assert question in asked(relation)


def test_what_is_held_out_is_not_trained_on_and_trained_on_for_another_relation():
    names = ("capital", "river", "anthem", "flag", "mayor", "president", "curator", "head", "price", "plays for")
    wordings = [plain_wording(name) for name in names]
    assert all(each.paraphrase not in each.questions for each in wordings)
    forms = {each.paraphrase.replace(name, "it") for name, each in zip(names, wordings, strict=True)}
    assert len(forms) > 2
