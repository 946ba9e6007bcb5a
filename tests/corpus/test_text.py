import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.corpus.text import ANSWER_MARKER, ANSWER_START, MAX_CHARACTERS, folded, normal, one_line, shown, typed, unfit

SEOUL = "서울"
ENGLAND = "\U0001f3f4" + "".join(chr(0xE0000 + ord(each)) for each in "gbeng") + "\U000e007f"
PIECES = ["\u2010", "\u2011", "-"]
PIECES += list("\u200c\u200d\ufe0f\u180b\u00ad\ufeff\u0301\u094d\u0915بكرA1️⃣👩🏴\U000e0067ﾊﾞᄒㅏ간 \t\n\r\x85\u2028ſß")
TEXT = st.lists(st.sampled_from(PIECES) | st.characters(exclude_categories=["Cs"]), max_size=12).map("".join)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (unicodedata.normalize("NFD", SEOUL), SEOUL),
        ("New\u00a0York", "New York"),
        ("Ho\u3000Chi\u2009Minh", "Ho Chi Minh"),
        ("Jane\u3164Doe", "Jane Doe"),
        ("zero\u200bwidth\u2060, soft\u00adly", "zerowidth, softly"),
        ("\ufeffPeru\u202e", "Peru"),
        ("co\u2011op, co\u2010op", "co-op, co-op"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("a\ufe0f b\u200dc", "a bc"),
        ("e" + "\u0301" * 100, "\u00e9" + "\u0301" * 29),
    ],
)
def test_what_looks_the_same_becomes_the_same(text, clean):
    assert normal(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cخواهم", "क्\u200dष", "ක්\u200dෂ", "ര\u200d്", "ه\u200d.ش",  # Persian, Hindi, Sinhala, Malayalam
        "👩🏽\u200d🚀 ❤️\u200d🔥 👨‍👩‍👧 ☎︎ 1️⃣", ENGLAND,
        "def f():\n    return  1\n\nf()", "Ｗｉｄｅ ½ ﬁ", "naïve café 3 < 4", "1914\u20131918 \u2014 \u22122",
    ],
)  # fmt: skip
def test_what_changes_the_look_or_the_sense_stays(text):
    assert normal(text) == text


def test_a_joiner_that_changes_nothing_is_dropped():
    assert normal("کتاب\u200c ر\u200cچ می\u200c\u200bخواهم") == "کتاب رچ می\u200cخواهم"
    assert normal("ب\u200c\u200b\u200cب") == "ب\u200cب"


@given(TEXT)
@example("À\u094d\u200c")
@example("\x00\r\x85\x1b")
def test_the_normal_form_is_final_and_the_same_for_every_form_of_unicode(text):
    clean = normal(text)
    assert normal(clean) == clean and unicodedata.is_normalized("NFC", clean)
    assert {normal(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")} == {clean}
    assert one_line(one_line(text)) == one_line(text)
    assert folded(folded(text)) == folded(text)


@settings(deadline=None)
@given(st.text("aAßéÉｱﾊﾞ가Ｋ½ ", min_size=1))
def test_a_key_is_one_in_every_case_width_and_form(key):
    ways = (key.upper(), key.casefold(), *(unicodedata.normalize(form, key) for form in ("NFD", "NFKC", "NFKD")))
    assert {folded(way) for way in ways} == {folded(key)}


def test_a_long_run_of_marks_is_no_work():
    assert len(normal("a" + "\u0301\u0323" * 200_000)) < 40


@pytest.mark.parametrize(
    "text",
    [
        "\ud83d", "a\x1b[1m", "\x7f", "\x9b", ANSWER_START, f"x{ANSWER_MARKER}", "<|im_end|>",
        *("\ufffe", "a\uffff", "\U0001fffe", "\U0010ffff", "\ufdd0", "\ufdef", "x" * (MAX_CHARACTERS + 1)),
        *(ANSWER_MARKER.replace(" ", blanks) for blanks in ("  ", "\n", " \t\n ")),
    ],
)  # fmt: skip
def test_what_no_step_could_use_is_refused_with_a_reason(text):
    assert unfit(text).endswith(".")
    assert unfit("Ordinary (답변을 기다리며) <b> <|\n\t") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\x1b[1m", "the control character U+001B"), ("\ufdd0", "U+FDD0, which is no character"),
     (ANSWER_MARKER.replace(" ", "\n"), f"contains '{ANSWER_MARKER}'")],
)  # fmt: skip
def test_the_reason_names_what_must_go(text, expected):
    assert expected in unfit(text)


def test_what_is_quoted_is_short_and_one_line():
    assert shown("one\n\ttwo \ud83d") == "one two \\ud83d"
    assert len(shown("x" * 1000)) == 60 and shown("x" * 60) == "x" * 60


def test_an_argument_that_is_no_utf8_becomes_one_that_is():
    assert typed("caf\udce9\u00a0au  lait ") == "caf\ufffd au lait"
