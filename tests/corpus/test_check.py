import json

import pytest

from tasks.corpus.check import check_slice, listing
from tasks.corpus.slices import Examples

GOOD_CHAT = {"input": "Hello!", "output": "Hi there."}


def write(folder, name, content):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def reasons(folder, older=()):
    return [str(problem) for problem in check_slice(folder, older)]


def test_a_good_slice_has_no_problems(tmp_path):
    folder = write(tmp_path / "s", "facts.csv", 'subject,relation,object\n"Korea, South",capital,Seoul\n')
    write(folder, "memories.txt", "[오늘 일정: 친구랑 카페] 나 오늘 뭐 하지?\n")
    write(folder, "chat.jsonl", json.dumps(GOOD_CHAT))
    write(folder, "texts.jsonl", '{"text": "Once.", "date": "2024-01-01"}\n')
    assert reasons(folder) == []


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("facts.csv", "subject;relation;object\n", "line 1: the header must be 'subject,relation,object'"),
        ("facts.csv", "subject,relation,object\nA,b\n", "line 2: 2 fields instead of 3"),
        ("facts.csv", "subject,relation,object\nA,b, \n", "line 2: 'object' is empty"),
        ("facts.csv", "subject,relation,object\nA,b,c\nA,b,c\n", "line 3: the same row stands in line 2"),
        (
            "facts.csv",
            "subject,relation,object\nFrance,capital,Paris\nFrance,capital,Lyon\n",
            'line 3: "France, capital" has two objects: Paris (line 2) and Lyon. Keep one.',
        ),
        ("facts.csv", b"subject,relation,object\nA,b,\xff\n", "line 2: byte 5 is no UTF-8"),
        ("facts.csv", b"subject,relation,object\nA,b,c\x00d\n", "line 2"),
        ("facts.csv", "", "header must be"),
        ("memories.txt", "[key value] hello\n", "line 1: not of the form '[key: value] message'"),
        ("memories.txt", "[k: v] a\n\n[k: v] a\n", "line 3: the same row stands in line 1"),
        ("chat.jsonl", "{\n", "line 1: no JSON"),
        ("chat.jsonl", '{"input": "a"}\n', "line 1: not an object with exactly the keys input, output"),
        ("chat.jsonl", '{"input": 1, "output": "b"}\n', "line 1: 'input' is no text"),
        ("chat.jsonl", "\n", "no rows"),
        ("examples.jsonl", '{"input": "a", "target": "b", "split": "dev"}', "'split' is 'dev', not 'train' or 'test'"),
        (
            "examples.jsonl",
            '{"input": "a", "target": "b", "split": "train"}\n{"input": "a", "target": "b", "split": "test"}',
            "line 2: a test row that is trained on in examples.jsonl, line 1",
        ),
        ("texts.jsonl", '{"text": "", "date": "2020"}', "'text' is empty"),
        ("fact.csv", "x", "unknown file"),
        ("relations.yaml", "relations: {capital: {en: {questions: [], paraphrase: a, statements: []}}}", "relations"),
        ("relations.yaml", "a: &x [1]\nb: *x\n", "aliases"),
    ],
)
def test_a_bad_row_is_named_with_file_line_and_reason(tmp_path, name, content, expected):
    found = reasons(write(tmp_path / "s", name, content))
    assert any(expected in reason and name in reason for reason in found), found


def test_a_test_row_that_an_older_slice_trained_on_is_refused(tmp_path):
    folder = write(tmp_path / "s", "examples.jsonl", '{"input": "old", "target": "b", "split": "test"}')
    older = Examples(name="2020", train=[{"prompt": "old", "target": "b"}])
    assert "trained on in slice 2020" in reasons(folder, [older])[0]


def test_an_empty_folder_and_a_missing_one_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no data" in reasons(tmp_path / "empty")[0]
    assert "no such folder" in reasons(tmp_path / "none")[0]


def test_at_most_twenty_problems_are_listed_and_the_rest_counted(tmp_path):
    rows = "".join(f"A{number},b\n" for number in range(33))
    found = check_slice(write(tmp_path / "s", "facts.csv", "subject,relation,object\n" + rows))
    lines = listing(found).split("\n")
    assert len(lines) == 21
    assert lines[-1] == "... and 13 more."


def test_a_byte_order_mark_and_windows_line_ends_are_no_problem(tmp_path):
    content = b"\xef\xbb\xbfsubject,relation,object\r\nA,b,c\r\n"
    assert reasons(write(tmp_path / "s", "facts.csv", content)) == []
