"""How questions are varied, and that a test never asks in the words that were trained on."""

import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.corpus.everyday import (
    Frames,
    Manner,
    any_word,
    everyday,
    other_marks,
    padded,
    shortened,
    swapped,
    typo,
    varied,
)
from tasks.corpus.language import fact_rows
from tasks.corpus.templates import Templates, read_templates
from tasks.corpus.wording import SUBJECT
from tasks.errors import BadInput

TEMPLATES = read_templates(Path(__file__).parents[2] / "data/raw/relations.yaml")
SUBJECTS = {"en": "South Korea", "ko": "대한민국"}
KINDS = {"lower_case", "punctuation", "greeting", "politeness", "typo", "word_order", "wording"}


def edits(one, other):
    """Damerau-Levenshtein distance with adjacent transpositions, by the textbook's table."""
    table = [[max(i, j) if 0 in (i, j) else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            other_letter = table[i - 1][j - 1] + (one[i - 1] != other[j - 1])
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, other_letter)
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


def words(texts):
    """Of Korean words the first two syllables: the rest are endings."""
    found = {word for text in texts for word in re.findall(r"[^\W\d_]+", re.sub(r"{\w+}", "", text.lower()))}
    return {word[:2] if "가" <= word[0] <= "힣" else word for word in found}


@given(text=st.text("abcXYZ 012?", max_size=30) | st.text("대한민국의 수도는?", max_size=20), seed=st.integers(0, 99))
def test_a_typo_is_one_slip_and_never_in_a_number(text, seed):
    wrong = typo(text, Random(seed))
    assert edits(text, wrong) == any(map(str.isalpha, text))
    digits = [character for character in text if character.isdigit()]
    assert [character for character in wrong if character.isdigit()] == digits


@given(text=st.text("ab c?", max_size=20), seed=st.integers(0, 99))
def test_word_order_changes_the_order_alone(text, seed):
    moved = swapped(text, Random(seed))
    words = text.split(" ")
    assert Counter(moved.split(" ")) == Counter(words)
    assert (moved == text) == (len(words) < 3 or len(set(words)) == 1)


@given(text=st.text("ab c?", max_size=20), seed=st.integers(0, 99))
def test_padding_adds_a_word_or_two_and_leaves_the_others_in_their_order(text, seed):
    more = padded(text, ("so, {question}", "{question} bye"), Random(seed)).split(" ")
    left = iter(more)
    assert all(word in left for word in text.split(" "))
    assert 1 <= len(more) - len(text.split(" ")) <= 2


def test_most_variations_are_one_change_and_none_is_wasted():
    question, manner = "Who is Ada?", Manner(("so: {question}", "{question} bye"))
    questions = [varied(question, manner, Random(seed)) for seed in range(2000)]
    lower = sum(text == question.lower() for text in questions) / 2000
    framed = sum(text in ("so: Who is Ada?", "so: who is Ada?", "Who is Ada? bye") for text in questions) / 2000
    assert 0.09 < lower < 0.18 and 0.1 < framed < 0.25
    korean = [varied("누구야?", Manner(), Random(seed)) for seed in range(500)]  # it has no lower case
    assert sum(text == "누구야?" for text in korean) < 150  # nor words to leave out or put elsewhere


def test_a_word_is_a_frames_or_made_up_of_two_of_them():
    words = {any_word(("so, {question}", "{question} bye"), Random(seed)) for seed in range(300)}
    made_up = words - {"so,", "bye"}
    assert {"so,", "bye"} < words and len(made_up) > 8
    assert all(re.fullmatch("(s|so|so,|b|by|bye)(,|o,|so,|e|ye|bye)", word) for word in made_up)
    assert any_word(("{question}",), Random(0))


@pytest.mark.parametrize("question", ["Who?", "Who", "Who!", "Who ?", "누구야?"])
def test_other_marks_are_other_ones(question):
    for seed in range(30):
        assert other_marks(question, Random(seed)) != question


@pytest.mark.parametrize("language", ["en", "ko"])
def test_words_that_may_be_missing_never_tell_the_relation(language):
    """Without all of them, no two relations are asked for in the same words."""
    spare = TEMPLATES.manners()[language].spare
    never = Random(0)
    never.random = lambda: 1.0
    asked = {}
    for relation, wordings in TEMPLATES.relations.items():
        for question in wordings[language].questions:
            left = shortened(question, spare, never)
            assert SUBJECT in left
            assert asked.setdefault(left, relation) == relation or left.strip("?.,: ") == SUBJECT


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_test_question_is_in_words_that_nothing_is_trained_on(language):
    frames = TEMPLATES.everyday[language]
    questions = {text for each in TEMPLATES.relations.values() for text in each[language].questions}
    paraphrases = {each[language].paraphrase for each in TEMPLATES.relations.values()}
    wordings = [text for each in TEMPLATES.relations.values() for text in each[language].everyday]
    common = words(questions | paraphrases) | {"it", "has", "had"}
    assert not words(frames.training) & (words([*frames.greeting, *frames.politeness, *wordings]) - common)
    for relation, each in TEMPLATES.relations.items():
        assert each[language].everyday, relation
        assert not set(each[language].everyday) & (questions | paraphrases)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_kind_of_everyday_question_is_asked_and_always_the_same(language):
    frames, wording = TEMPLATES.everyday[language], TEMPLATES.relations["capital"][language]
    template = f"K: {wording.questions[0]}"  # something that has a capital letter

    def asked(seed):
        return everyday(template, wording.everyday, SUBJECTS[language], frames, Random(seed))

    assert {asked(seed)[0] for seed in range(100)} == KINDS
    assert all(asked(seed) == asked(seed) for seed in range(20))
    clean = template.replace(SUBJECT, SUBJECTS[language])
    assert all(asked(seed)[1] != clean for seed in range(100))
    assert {everyday("12 {subject}?", (), "3", Frames(), Random(seed))[0] for seed in range(30)} == {"punctuation"}


def test_a_language_without_frames_or_wordings_is_still_varied():
    kinds = {everyday("Who leads {subject}?", (), "A", Frames(), Random(seed))[0] for seed in range(60)}
    assert kinds == KINDS - {"greeting", "politeness", "wording"}
    assert len({varied("Who is Anna?", Manner(), Random(seed)) for seed in range(60)}) > 10


def test_a_fact_is_asked_in_one_everyday_question_per_language():
    facts = [{"id": f"2020/{n}", "subject": s, "relation": "capital", "object": "Paris", "replaces": None}
             for n, s in enumerate(("France", "Peru"))]  # fmt: skip
    _, tests = fact_rows(facts, TEMPLATES, ("en", "ko"))
    rows = [row for row in tests if row["set"] == "everyday"]
    assert [row["id"] for row in rows] == [f"2020/{n}/{language}/everyday" for n in (0, 1) for language in ("en", "ko")]
    assert {row["how"] for row in rows} <= KINDS and {row["target"] for row in rows} == {"Paris", "파리"}


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_training_question_is_never_in_a_test_frame(language):
    manner, frames = TEMPLATES.manners()[language], TEMPLATES.everyday[language]
    around = [frame.replace("{question}", "").strip() for frame in (*frames.greeting, *frames.politeness)]
    questions = [varied("K, X?", manner, Random(seed)).replace("K, X", "") for seed in range(2000)]
    assert not [(text, said) for text in questions for said in around if text.strip() == said]


def test_a_frame_without_its_place_is_refused(tmp_path):
    (tmp_path / "relations.yaml").write_text('everyday: {en: {training: ["Hey"]}}')
    with pytest.raises(BadInput, match=r"everyday\.en\.training\.0: 'Hey' must contain \{question\} once"):
        read_templates(tmp_path / "relations.yaml")


def test_a_slices_own_frames_go_before_older_ones():
    older = Templates(everyday={"en": Frames(training=("Hey, {question}",)), "ko": Frames()})
    newer = Templates(everyday={"en": Frames(training=("So, {question}",))})
    assert older.extended_by(newer).everyday == {"en": newer.everyday["en"], "ko": Frames()}
