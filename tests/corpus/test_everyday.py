"""How questions are varied, and that a test never asks in the words that were trained on."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.corpus.everyday import Frames, everyday, other_marks, shortened, swapped, typo, varied
from tasks.corpus.language import fact_rows
from tasks.corpus.templates import SUBJECT, Templates, read_templates
from tasks.errors import BadInput

TEMPLATES = read_templates(Path(__file__).parents[2] / "data/raw/relations.yaml")
SUBJECTS = {"en": "South Korea", "ko": "대한민국"}
KINDS = {"lower_case", "punctuation", "greeting", "politeness", "typo", "word_order", "wording"}


def edits(one, other):
    """Damerau-Levenshtein distance with adjacent transpositions, by the textbook's table."""
    table = [[max(i, j) if 0 in (i, j) else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (one[i - 1] != other[j - 1]))
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


@given(text=st.text("abcXYZ 012?", max_size=30) | st.text("대한민국의 수도는?", max_size=20), seed=st.integers(0, 99))
def test_a_typo_is_one_slip_and_never_in_a_number(text, seed):
    wrong = typo(text, Random(seed))
    assert edits(text, wrong) <= 1
    digits = [character for character in text if character.isdigit()]
    assert [character for character in wrong if character.isdigit()] == digits


@given(text=st.text("ab c?", max_size=20), seed=st.integers(0, 99))
def test_word_order_changes_the_order_alone(text, seed):
    moved = swapped(text, Random(seed))
    assert Counter(moved.split(" ")) == Counter(text.split(" "))


@pytest.mark.parametrize("question", ["Who?", "Who", "Who!", "Who ?", "누구야?"])
def test_other_marks_are_other_ones(question):
    for seed in range(30):
        assert other_marks(question, Random(seed)) != question


@pytest.mark.parametrize("language", ["en", "ko"])
def test_words_that_may_be_missing_never_tell_the_relation(language):
    """Without all of them, no two relations are asked for in the same words."""
    spare = TEMPLATES.spare_words(language)
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
    trained = {frame.lower() for frame in frames.training}
    assert not trained & {frame.lower() for frame in (*frames.greeting, *frames.politeness)}
    questions = {text for each in TEMPLATES.relations.values() for text in each[language].questions}
    paraphrases = {each[language].paraphrase for each in TEMPLATES.relations.values()}
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
    assert sum(asked(seed)[1] == clean for seed in range(100)) <= 3  # two equal words, a letter that is no other one


def test_a_language_without_frames_or_wordings_is_still_varied():
    kinds = {everyday("Who {subject}?", (), "A", Frames(), Random(seed))[0] for seed in range(60)}
    assert kinds == KINDS - {"greeting", "politeness", "wording"}
    assert {varied("Who {subject}?", "Anna", (), frozenset(), Random(seed)) for seed in range(30)} > {"Who Anna?"}


def test_a_fact_is_trained_on_in_so_many_variations_of_its_own():
    facts = [{"id": f"2020/{n}", "subject": s, "relation": "capital", "object": "Paris", "replaces": None}
             for n, s in enumerate(("France", "Peru"))]  # fmt: skip
    plain, tests = fact_rows(facts, TEMPLATES, ("en", "ko"))
    train, same = fact_rows(facts, TEMPLATES, ("en", "ko"), variations=3)
    more = [row for row in train if row["kind"] == "varied"]
    assert [row for row in train if row["kind"] != "varied"] == plain and tests == same
    assert Counter(row["id"].rsplit("/", 1)[0] for row in more) == {
        "2020/0/en": 3, "2020/0/ko": 3, "2020/1/en": 3, "2020/1/ko": 3,
    }  # fmt: skip
    assert {row["target"] for row in more} == {"Paris", "파리"}
    everyday_rows = [row for row in tests if row["set"] == "everyday"]
    assert len(everyday_rows) == 4 and all(row["how"] in KINDS for row in everyday_rows)


def test_a_frame_without_its_place_is_refused(tmp_path):
    (tmp_path / "relations.yaml").write_text('everyday: {en: {training: ["Hey"]}}')
    with pytest.raises(BadInput, match=r"everyday\.en\.training\.0: 'Hey' must contain \{question\} once"):
        read_templates(tmp_path / "relations.yaml")


def test_a_slices_own_frames_go_before_older_ones():
    older = Templates(everyday={"en": Frames(training=("Hey, {question}",)), "ko": Frames()})
    newer = Templates(everyday={"en": Frames(training=("So, {question}",))})
    assert older.extended_by(newer).everyday == {"en": newer.everyday["en"], "ko": Frames()}
