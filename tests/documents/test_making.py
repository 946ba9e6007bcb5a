"""Of pages a slice is made: rows of the ordinary files, marked, that contradict nothing and update what is older."""

import csv
import json
import shutil

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tasks.corpus.check import check_slice, problems_of
from tasks.corpus.erasure import digest
from tasks.corpus.examples import examples_of, problems_of_rows
from tasks.corpus.raw import MADE, read_raw
from tasks.corpus.slices import never_given
from tasks.corpus.templates import Templates
from tasks.corpus.text import CONTROL, normal
from tasks.documents import relations
from tasks.documents.making import LONGEST_TEXT, make_rows, read_pages
from tasks.documents.reading import Page
from tasks.errors import BadInput
from tasks.params import Dataset
from tests.documents.test_reading import PIECES

SETTINGS = Dataset(languages=("en", "ko"), chat_repeats=1)
HALL = "# Long Hall\n\nThe hall was built in 1931 by Ann Lee.\n\n- Deposit: 50 €\n\n## May I smoke?\n\nNo, never.\n"


@pytest.fixture
def write(tmp_path):
    def write(folder, **pages):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name, text in pages.items():
            (tmp_path / folder / f"{name}.md").write_text(text)
        return read_pages(tmp_path / folder)

    return write


@pytest.fixture
def made(tmp_path, write):
    """What is made of pages, and the slice's folder."""

    def make(name, older=(), given=None, languages=("en", "ko"), **pages):
        folder = tmp_path / "raw" / name
        folder.mkdir(parents=True)
        for file, text in (given or {}).items():
            (folder / file).write_text(text)
        found = make_rows(write(name, **pages), folder, name, list(older), Templates(), languages)
        return found, folder

    return make


def facts_in(folder):
    with (folder / "facts.csv").open(newline="") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


def rows_in(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def examples(folder, older=()):
    raw = read_raw(folder)
    assert not [*check_slice(folder, older), *problems_of(raw, list(older), "time")]
    found = examples_of(folder.name, raw, list(older), raw.templates or Templates(), SETTINGS)[0]
    assert not problems_of_rows(found, list(older))
    return found


def test_each_row_is_marked_with_its_page_and_its_rule(made):
    found, folder = made("one", hall=HALL)
    assert facts_in(folder) == [
        ("hall", "built when", "1931"), ("hall", "built by", "Ann Lee"), ("Deposit", "price", "50 €"),
    ]  # fmt: skip
    assert (found.pages, found.facts, found.questions, found.texts) == (1, 3, 1, 1)
    marks = rows_in(folder / MADE)
    assert len(marks) == 5
    assert marks[0] == {
        "file": "facts.csv", "subject": "hall", "relation": "built when", "object": "1931", "by": "done",
        "source": "hall.md",
    }  # fmt: skip
    assert marks[3]["source"] == "hall.md § May I smoke?" and marks[3]["by"] == "a heading that asks"
    assert "3 facts, 1 question with its answer, 1 text" in str(found)


def test_what_is_made_can_be_asked_in_words_that_nothing_is_trained_on(made):
    built = examples(made("one", hall=HALL)[1])
    trained = {row["prompt"] for row in built.train}
    held_out = {row["prompt"] for row in built.test if row["set"] in ("paraphrase", "everyday") and row["fact"]}
    assert len(held_out) == 6 and not held_out & trained
    assert "Who built hall?" in trained and "How much is Deposit?" in trained and "May I smoke?" in trained


def test_a_page_that_says_something_else_next_month_overrides_what_it_said(made):
    first = examples(made("one", hall=HALL)[1])
    found, folder = made("two", [first], hall=HALL.replace("1931", "1932").replace("No, never.", "Yes."))
    second = examples(folder, [first])
    assert [(fact["object"], fact["replaces"]["object"]) for fact in second.facts] == [("1932", "1931")]
    assert found.replaced == 1
    erased = digest("examples.jsonl", {"input": "May I smoke?", "target": "No, never."})
    assert [row["digest"] for row in second.erased] == [erased]
    assert rows_in(folder / "examples.jsonl") == [{"input": "May I smoke?", "target": "Yes.", "split": "train"}]


def test_the_same_pages_again_bring_no_news(made):
    first = examples(made("one", hall=HALL)[1])
    found, folder = made("two", [first], hall=HALL.replace("The hall", "The Hall"))
    assert (found.questions, found.texts, found.known, found.replaced) == (0, 0, 1, 0)
    assert not (folder / "texts.jsonl").exists() and not (folder / "examples.jsonl").exists()
    assert examples(folder, [first]).facts == []  # of another case, yet the same


def test_given_rows_come_first_and_are_never_contradicted(made):
    given = {
        "facts.csv": "subject,relation,object\nhall,built when,1900", "examples.jsonl":
        '{"input": "May I smoke?", "target": "Outside.", "split": "train"}', "relations.yaml":
        "names: {Oslo: 오슬로}\n",
    }  # fmt: skip
    _, folder = made("one", given=given, hall=HALL)
    assert facts_in(folder)[0] == ("hall", "built when", "1900") and len(facts_in(folder)) == 3
    assert [row["target"] for row in rows_in(folder / "examples.jsonl")] == ["Outside."]
    assert read_raw(folder).templates.names == {"Oslo": "오슬로"}
    examples(folder)


def test_a_fact_that_would_be_asked_for_as_another_is_left_out(made):
    found, folder = made("one", a="# Long Hall\n\n- Address: Pier 4\n\nThe Long Hall is behind the market.\n")
    assert facts_in(folder) == [("Long Hall", "address", "Pier 4")] and found.contrary == 1
    examples(folder)


def test_korean_facts_are_told_in_korean_or_not_at_all(made):
    text = "# 등대\n\n- 높이: 20미터\n"
    _, folder = made("one", light=text)
    built = examples(folder)
    assert {row["target"] for row in built.train if row["prompt"]} == {"20미터"}
    found, folder = made("two", languages=("en",), light=text)
    assert found.facts == 0 and not (folder / "facts.csv").exists()


def test_a_question_that_two_pages_answer_otherwise_is_left_out_and_case_makes_no_other(made):
    found, folder = made("one", a=HALL, b=HALL.replace("No, never.", "Sometimes.").replace("May I", "May i"))
    assert found.questions == 0 and not (folder / "examples.jsonl").exists()
    first = examples(made("two", a=HALL)[1])
    assert made("three", [first], a=HALL.replace("May I", "may I"))[0].questions == 0


def test_an_answer_that_comes_back_is_not_taught_beside_the_one_that_it_takes_away(made):
    slices = []
    for name, answer in (("one", "No, never."), ("two", "Yes."), ("three", "No, never."), ("four", "Outside.")):
        found, folder = made(name, slices, hall=HALL.replace("No, never.", answer))
        new = examples_of(name, read_raw(folder), slices, Templates(), SETTINGS)[0] if any(folder.iterdir()) else None
        slices = never_given([*slices, new], {row["digest"] for row in new.erased}) if new else slices
        taught = {row["target"] for each in slices for row in each.train if row["prompt"] == "May I smoke?"}
        assert taught == {"one": {"No, never."}, "two": {"Yes."}, "three": set(), "four": {"Outside."}}[name]


def test_nothing_is_asked_with_two_answers_be_it_given_older_or_under_a_heading(made):
    given = {"facts.csv": "subject,relation,object\nLong Hall,location,in Bath\n"}
    text = "# Long Hall\n\n- Address: Pier 4\n\nLong Hall is a barn for concerts.\n\n## What is Long Hall?\n\nA hall.\n"
    wording = relations.where().wording.model_dump()
    given["relations.yaml"] = json.dumps({"relations": {"location": {"en": wording}}})
    found, folder = made("one", given=given, hall=text)
    assert facts_in(folder) == [("Long Hall", "location", "in Bath")] and found.contrary == 2
    first = examples(folder)
    found, folder = made("two", [first], hall="# Long Hall\n\n- Address: Pier 4\n")
    assert found.contrary == 1 and found.facts == 0


def test_long_pages_become_texts_of_a_size_that_a_model_reads(made):
    text = "# Tale\n\n" + " ".join(f"word{number}" for number in range(700)) + "\n\n" + "".join(map(str, range(900)))
    _, folder = made("one", tale=text)
    texts = [row["text"] for row in rows_in(folder / "texts.jsonl")]
    assert all(0 < len(text) <= LONGEST_TEXT for text in texts)
    assert "".join("".join(texts).split()) == "".join(text.removeprefix("# Tale").split())


def test_every_page_that_cant_be_read_is_named_at_once(tmp_path, write):
    write("bad", a="fine")
    (tmp_path / "bad/b.md").write_bytes(b"\xff")
    (tmp_path / "bad/c.md").write_text(" ")
    with pytest.raises(BadInput, match="(?s)bad is not added:.*b.md, line 1.*c.md has no text"):
        read_pages(tmp_path / "bad")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=8), min_size=1, max_size=60).map(" ".join))
def test_what_is_made_of_any_page_can_be_added_and_asked(tmp_path, text):
    """Nobody is told to mend a row that nobody wrote."""
    assume(not CONTROL.search(text))  # such a page is not read
    pages, older = [Page("a.md", "", "", normal(text)), Page("b.md", "Two", "", normal(text + "!"))], []
    for name in ("one", "two"):
        folder = tmp_path / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        make_rows(pages, folder, name, older, Templates(), ("en", "ko"))
        if any(folder.iterdir()):
            older.append(examples(folder, older))
