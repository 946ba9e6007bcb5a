"""Written answers: chrF and BLEU are what their papers say, and only such answers are asked for."""

import io
import math
from collections import Counter
from dataclasses import replace

import pytest
from rich.console import Console

from tasks.corpus.slices import Examples
from tasks.reporting.page import _written
from tasks.reporting.summary import _written as told_of
from tasks.scoring import written
from tasks.scoring.sampling import sample_rows
from tasks.scoring.written import compare_written, likeness

SAID = ["the cat sat on a mat", "he goes home now", "안녕 친구야"]
EXPECTED = ["the cat sat on the mat", "he went home just now", "안녕하세요 친구"]


def grams(units, size):
    return Counter(tuple(units[at : at + size]) for at in range(len(units) - size + 1))


def hits(said, expected, size):
    """Of all pairs together: n-grams that are right, those said, those expected."""
    counts = [(grams(one, size), grams(other, size)) for one, other in zip(said, expected, strict=True)]
    return [sum(sum(each.values()) for each in side) for side in zip(
        *((one & other, one, other) for one, other in counts), strict=True)]  # fmt: skip


def test_chrf_is_the_f_score_of_character_n_grams_worked_out_one_by_one():
    """Popović 2015, eq. 1: (1 + 4) P R / (4 P + R), P and R the means over n of 1 to 6; blanks do not count."""
    said, expected = ([text.replace(" ", "") for text in texts] for texts in (SAID, EXPECTED))
    precisions, recalls = [], []
    for size in range(1, 7):
        right, of_said, of_expected = hits(said, expected, size)
        precisions.append(right / of_said)
        recalls.append(right / of_expected)
    precision, recall = sum(precisions) / 6, sum(recalls) / 6
    assert likeness(SAID, EXPECTED)["chrf"] == pytest.approx(100 * 5 * precision * recall / (4 * precision + recall))


def test_bleu_is_the_geometric_mean_of_precisions_times_the_brevity_penalty():
    """Papineni et al. 2002, section 2.3."""
    said, expected = ([text.split() for text in texts] for texts in (SAID, EXPECTED))
    precisions = []
    for size in range(1, 5):
        right, of_said, _ = hits(said, expected, size)
        precisions.append(right / of_said)
    short, long = (sum(len(each) for each in texts) for texts in (said, expected))
    expected_score = 100 * min(1, math.exp(1 - long / short)) * math.prod(precisions) ** (1 / 4)
    assert expected_score > 1
    assert likeness(SAID, EXPECTED)["bleu"] == pytest.approx(expected_score)


def examples(name, pairs, repeated=1):
    train = [{"kind": "example", "prompt": "?", "target": target} for _, target in pairs for _ in range(repeated)]
    test = [
        {"id": f"{name}/examples/{number}", "set": "seen", "prompt": prompt, "target": target, "fact": None}
        for number, (prompt, target) in enumerate(pairs)
    ]
    return Examples(name=name, train=train, test=test)


SLICES = [
    examples("news", [("one", "eins"), ("two", "zwei"), ("three", "drei")]),
    examples("intents", [("pay", "bill"), ("go", "travel")], repeated=2),
    examples("law", [("right", "recht")]),
]


@pytest.mark.parametrize(("most", "counts"), [(200, [3, 1]), (4, [3, 1]), (3, [2, 1]), (1, [1, 1])])
def test_answers_that_are_texts_are_asked_for_slice_by_slice(tiny, monkeypatch, most, counts):
    asked = []

    def said(model, tokenizer, messages, longest, batch_tokens):
        asked.extend(messages)
        assert longest > 5
        return ["eins" if message == "one" else "x" for message in messages]

    monkeypatch.setattr(written, "answers", said)
    found = compare_written(*tiny, SLICES, sample_rows(SLICES, {}, 100), most, 256)
    assert [each["rows"] for each in found.values()] == counts and list(found) == ["news", "law"]
    assert asked == ["one", "two", "three"][: counts[0]] + ["right"]
    assert found["news"]["chrf"] > 0 and found["law"]["chrf"] == 0


def test_a_label_that_is_taught_once_is_no_text_and_rows_that_nobody_trains_are_not_asked(tiny):
    moods = examples("moods", [("1", "joy"), ("2", "joy"), ("3", "anger"), ("4", "anger"), ("5", "fear")])
    only_tests = replace(examples("tests", [("a", "eins")]), train=[])
    slices = [moods, only_tests]
    assert compare_written(*tiny, slices, sample_rows(slices, {}, 100), 9, 256)["moods"]["rows"] == 1  # fear


def test_where_there_are_none_nothing_is_asked(tiny):
    assert compare_written(*tiny, SLICES, sample_rows(SLICES, {}, 100), 0, 256) is None
    assert compare_written(*tiny, SLICES[1:2], sample_rows(SLICES[1:2], {}, 100), 9, 256) is None


def test_a_model_writes_them_itself(tiny):
    found = compare_written(*tiny, SLICES, sample_rows(SLICES, {}, 100), 9, 256)
    assert all(0 <= each[name] <= 100 for each in found.values() for name in ("chrf", "bleu"))


FOUND = {
    "news": {"news": {"rows": 3, "chrf": 45.25, "bleu": 20.0}},
    "law": {"news": {"rows": 3, "chrf": 40.5, "bleu": 18.0}, "law": {"rows": 1, "chrf": 60.0, "bleu": 31.0}},
}


def test_page_and_terminal_show_them():
    page = _written({"kind": "domain", "written": FOUND})
    assert "<h2>Written answers</h2>" in page and "after domain" in page and "40.5 / 18.0" in page
    assert _written({"kind": "domain", "written": None}) == ""
    console = Console(width=80, file=io.StringIO())
    told_of(console, {"written": FOUND}, "law")
    assert console.file.getvalue() == "written: chrF news 40.5, law 60.0\n"
