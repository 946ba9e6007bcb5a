"""What templates and names make together is looked at before a slice is accepted."""

import json

from tasks.corpus.examples import examples_of, problems_of_rows
from tasks.corpus.raw import read_raw
from tasks.corpus.templates import Templates, read_templates
from tasks.params import Dataset

SETTINGS = Dataset(languages=("en",), chat_repeats=1)
QUESTIONS = ", ".join(f'"{word} ({{subject}})"' for word in ("a", "b", "c", "d", "e", "f"))
STATEMENTS = ", ".join(f'"{word} {{subject}}: {{object}}"' for word in ("a", "b", "c", "d"))


def relations(questions, paraphrase):
    wording = f'{{questions: [{questions}], paraphrase: "{paraphrase}", statements: [{STATEMENTS}]}}'
    return f"relations: {{fest: {{en: {wording}}}}}"


def bring(tmp_path, name, facts=(), examples=(), templates="names: {}"):
    folder = tmp_path / name
    folder.mkdir()
    if facts:
        (folder / "facts.csv").write_text(
            "subject,relation,object\n" + "".join(f"{','.join(fact)}\n" for fact in facts)
        )
    if examples:
        (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in examples))
    (tmp_path / "relations.yaml").write_text(templates)
    raw = read_raw(folder)
    assert not raw.problems
    return examples_of(name, raw, [], read_templates(tmp_path / "relations.yaml"), SETTINGS)[0]


def test_a_fact_that_no_language_can_tell_is_refused_by_line(tmp_path):
    templates = relations(QUESTIONS, "{subject}!").replace("{en:", "{ko:")
    bring(tmp_path, "new", [("Oslo", "fest", "Ada"), ("Rome", "capital", "Italy")])
    raw = read_raw(tmp_path / "new")
    (tmp_path / "relations.yaml").write_text(templates)
    known, korean = read_templates(tmp_path / "relations.yaml"), Dataset(languages=("ko",), chat_repeats=1)
    problems = problems_of_rows(examples_of("new", raw, [], known, korean)[0], [])
    assert [str(each) for each in problems][0].startswith(
        "facts.csv, line 2: 'fest' of 'Oslo' can be told in none of dataset.languages"
    )
    assert len(problems) == 2


def test_a_marker_that_a_template_and_a_name_make_is_refused_by_line(tmp_path):
    examples = bring(
        tmp_path,
        "new",
        [("Oslo", "fest", "Ada"), ("답변", "fest", "Ben")],
        templates=relations(QUESTIONS, "{subject}!"),
    )
    (problem,) = problems_of_rows(examples, [])
    assert str(problem).startswith(
        "facts.csv, line 3: with its template it becomes 'a (답변)', which contains '(답변)'"
    )


def test_a_test_row_that_a_fact_is_asked_in_is_found_in_its_slice_and_in_a_later_one(tmp_path):
    tested = {"input": "Peru, zork?", "target": "Lima", "split": "test"}
    both = bring(tmp_path, "both", [("Peru", "zork", "Lima")], [tested])
    (problem,) = problems_of_rows(both, [])
    assert str(problem).startswith("examples.jsonl, line 1: a test row that facts.csv, line 2, is asked in.")
    older = bring(tmp_path, "older", examples=[tested])
    newer = bring(tmp_path, "newer", [("Peru", "zork", "Lima")])
    (problem,) = problems_of_rows(newer, [older])
    assert str(problem) == "facts.csv, line 2: is asked as 'Peru, zork?', which slice older tests with. Remove it."
    assert not problems_of_rows(newer, [])


def test_an_everyday_question_is_never_empty(tmp_path):
    one = ", ".join(['"{subject}"'] * 6)
    facts = [(letter, "fest", "B") for letter in "abcdefghijklmnopqrstuvwxyz"]
    examples = bring(tmp_path, "new", facts, templates=relations(one, "{subject}"))
    assert all(row["prompt"] for row in examples.test if row["set"] != "statement")


def test_templates_of_nothing_make_nothing(tmp_path):
    assert not problems_of_rows(bring(tmp_path, "new", [("Peru", "capital", "Lima")]), [])
    assert Templates().manners() == {}
