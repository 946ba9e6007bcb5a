import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.lm.generate import Generated
from tasks.scoring.sanity import FAULTS, faults_of, scripts_of

SCRIPTS = scripts_of(["Oslo", "서울"])


@pytest.mark.parametrize(
    ("text", "ended", "expected"),
    [
        ("Oslo", True, set()),
        ("서울 is a city, 2024!", True, set()),
        ("", True, {"empty"}),
        (" \n", False, {"empty", "unended"}),
        ("no no no no", True, {"repeated"}),
        ("no no no", True, set()),
        ("hm, hm, hm, hm, hm, hm", True, {"repeated"}),
        ("Осло", True, {"foreign script"}),
        ("東京", True, {"foreign script"}),
        ("a b c d e f g h i j k l m n o p", True, {"over-long"}),
        ("Os", False, {"unended"}),
    ],
)
def test_each_fault_has_its_name(text, ended, expected):
    assert faults_of(Generated(text, ended), SCRIPTS, 10) == expected


def test_scripts_are_those_of_letters_alone():
    assert scripts_of(["Ås 1 %", "é", "한국", "漢", "ア"]) == {"LATIN", "HANGUL", "CJK", "KATAKANA"}
    assert scripts_of([]) == scripts_of(["1 2 ..."]) == frozenset()


@given(st.text(), st.booleans(), st.integers(0, 100))
def test_whatever_is_said_its_faults_are_known_ones(text, ended, longest):
    assert faults_of(Generated(text, ended), SCRIPTS, longest) <= set(FAULTS)
