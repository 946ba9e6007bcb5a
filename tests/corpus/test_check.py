import json
import unicodedata

import pytest

from tasks.corpus.check import check_slice, listing
from tasks.corpus.raw import read_raw
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
        ("facts.csv", b"subject,relation,obj\xe9t\nA,b,c\n", "line 1: byte 21 is no UTF-8"),
        ("facts.csv", "", "header must be"),
        ("facts.csv", "\n\nsubject;relation\n", "line 3: the header must be"),
        ("facts.csv", f"{'x' * 1000}\n", "object', not 'xxx"),
        ("facts.csv", "subject,relation,object\nA,b,c,d\n", "line 2: 4 fields instead of 3. Quote a field that has"),
        ("facts.csv", "subject,relation,object\nA,b\n", "line 2: 2 fields instead of 3. Write all of them."),
        ("facts.csv", f"subject,relation,object\nA,b,{'x' * 140_000}\n", "line 2: a field is longer than 20000 char"),
        ("facts.csv", f"subject,relation,object\nA,b,{'x' * 20_001}\n", "line 2: 'object' is longer than 20000 char"),
        (
            "facts.csv",
            'subject,relation,object\nA,b,"c\n' + "d,e,f\n" * 30_000,
            "line 2: a quote begins a field here, and",
        ),
        (
            "facts.csv",
            'subject,relation,object\nA,b,"c\nd,e,f\n',
            "line 2: a quote begins a field here, and none ends it.",
        ),
        ("facts.csv", 'subject,relation,object\nA,"b"s,c\n', "line 2: no CSV (',' expected after '\"'). Put a field"),
        ("memories.txt", "[key value] hello\n", "line 1: not of the form '[key: value] message'"),
        ("memories.txt", "[k: v] a\n\n[k: v] a\n", "line 3: the same row stands in line 1"),
        ("chat.jsonl", "\n\n{\n", "line 3: no JSON (Expecting property name enclosed in double quotes at column 2)."),
        ("chat.jsonl", '  {"input": "a" "output": "b"}\n', "line 1: no JSON (Expecting ',' delimiter at column 17)."),
        ("chat.jsonl", '{"input": "a\n', "line 1: no JSON (Unterminated string starting at column 11)."),
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
        ("relations.yaml", "a: &x [1]\nb: *x\n", "relations.yaml: line 2: aliases"),
        ("relations.yaml", "# nothing yet\n", "relations.yaml: is empty: keys and their values are expected"),
        ("relations.yaml", "- a\n", "relations.yaml: line 1: keys and their values are expected, not a list"),
        ("relations.yaml", "relations: {a: {en: [b]}}\n", "relations.a.en: keys and their values are expected here."),
        ("relations.yaml", "relations:\n  1984: {}\n", 'line 2: the key 1984 must be quoted: "1984"'),
        ("relations.yaml", b"names:\n  a: \xe9\n", "line 2: byte 6 is no UTF-8. Save the file as UTF-8."),
    ],
)
def test_a_bad_row_is_named_once_with_file_line_and_reason(tmp_path, name, content, expected):
    found = [reason for reason in reasons(write(tmp_path / "s", name, content)) if "no data" not in reason]
    assert any(expected in reason and name in reason for reason in found), found
    assert len(found) == len({reason.partition(": ")[0] for reason in found})  # of one line one sentence
    assert all(len(reason) < 250 and "\n" not in reason for reason in found)


@pytest.mark.parametrize("name", ["facts.csv", "memories.txt", "chat.jsonl", "relations.yaml"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_a_file_of_another_unicode_encoding_gets_one_sentence(tmp_path, name, encoding):
    folder = write(tmp_path / "s", "texts.jsonl", '{"text": "Once.", "date": "2024"}\n')
    found = reasons(write(folder, name, "a,b: c\n".encode(encoding)))
    assert found == [f"{name}: is {encoding[:6].upper()}. Save the file as UTF-8."]


def test_a_byte_order_mark_before_a_file_is_not_counted_and_one_within_is(tmp_path):
    folder = write(tmp_path / "s", "relations.yaml", "\ufeffnames: {a: b}\n")
    write(folder, "facts.csv", f"\ufeff{HEADER}A,b,c\n")
    assert read_raw(folder).normalised == {}
    write(folder, "relations.yaml", "\ufeffnames: {a: \ufeffb}\n")
    write(folder, "facts.csv", f"\ufeff{HEADER}\ufeffA,b,c\n")
    raw = read_raw(folder)
    assert raw.normalised == {"relations.yaml": 1, "facts.csv": 1} and not raw.problems


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


HEADER = "subject,relation,object\n"
NFD = unicodedata.normalize("NFD", "대한민국,수도,세종\n")


def test_two_forms_of_one_subject_are_one_contradiction(tmp_path):
    found = reasons(write(tmp_path / "s", "facts.csv", f"{HEADER}대한민국,수도,서울\n{NFD}"))
    assert found == ['facts.csv, line 3: "대한민국, 수도" has two objects: 서울 (line 2) and 세종. Keep one.']


@pytest.mark.parametrize(
    "line",
    [
        'Peru, "capital", "Lima"',
        '"Peru" ,"capital"\u00a0\t, Lima',
        'Peru, capital, "Lima" \t',
        '\ufeffPeru,\t"capital",\u00a0"Lima"',
        '\u200b"Peru",capital , Lima',
        "Peru\u00a0,\u2003capital,Li\u00adma",
        '"Pe\u200bru","cap\u2060ital","Lima "',
    ],
)
def test_what_is_not_seen_and_blanks_before_quotes_are_no_part_of_a_fact(tmp_path, line):
    raw = read_raw(write(tmp_path / "s", "facts.csv", f"{HEADER}{line}\n"))
    assert not raw.problems
    assert raw.facts == [(2, {"subject": "Peru", "relation": "capital", "object": "Lima"})]


def test_quotes_commas_and_blanks_within_a_field_stay(tmp_path):
    content = f'\n\n{HEADER}"a "" ,b" ,x,"1\n"" ,2" \n'
    raw = read_raw(write(tmp_path / "s", "facts.csv", content))
    assert not raw.problems
    assert raw.facts == [(5, {"subject": 'a " ,b', "relation": "x", "object": '1 " ,2'})]


def test_of_joined_files_the_second_header_is_left_out_and_counted(tmp_path):
    joined = b"\xef\xbb\xbfsubject,relation,object\r\nPeru,capital,Lima\r\n"
    joined += b"\xef\xbb\xbfsubject,relation,object\r\nFiji,capital,Suva\r\n"
    raw = read_raw(write(tmp_path / "s", "facts.csv", joined))
    assert [row["subject"] for _, row in raw.facts] == ["Peru", "Fiji"]
    assert raw.normalised == {"facts.csv": 1} and not raw.problems


def test_what_was_normalised_is_counted_by_file_and_nothing_else_is(tmp_path):
    folder = write(tmp_path / "s", "facts.csv", f"{HEADER}Peru , capital,Lima\nNew\u00a0York,state,NY\n{NFD}")
    write(folder, "chat.jsonl", '{"input": "Hi", "output": "a\\r\\nb"}\r\n{"input": "\\u00a0Hi!", "output": "b"}\r\n')
    write(folder, "texts.jsonl", '{"text": "Once.", "date": "2024"}\n')
    raw = read_raw(folder)
    assert raw.normalised == {"facts.csv": 2, "chat.jsonl": 2}
    assert [row for _, row in raw.chat] == [{"input": "Hi", "output": "a\nb"}, {"input": "Hi!", "output": "b"}]


def test_an_indented_text_keeps_its_indentation(tmp_path):
    raw = read_raw(write(tmp_path / "s", "examples.jsonl", json.dumps(EXAMPLE | {"target": "if x:\n    y  = 1"})))
    assert raw.examples[0][1]["target"] == "if x:\n    y  = 1"


EXAMPLE = {"input": "a", "target": "b", "split": "test"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"input": "good night \\ud83d", "output": "b"}', "'input' contains half of a character"),
        ('{"input": "a", "output": %s}' % ("9" * 5000), "'output' is no text"),
        ('{"input": "a", "output": %s}' % ("[" * 100_000), "nested too deeply"),
        ('{"input": "a", "output": NaN}', "NaN is no number"),
        ('{"input": "a", "input": "b", "output": "c"}', "the key 'input' is given twice"),
        ('{"input": "a", "output": "b (답변 종료)"}', "'output' contains '(답변 종료)'"),
        ('{"input": "<|endoftext|>", "output": "b"}', "'input' contains '<|endoftext|>'"),
        ('{"input": "\\u200b", "output": "b"}', "'input' is empty"),
        ('{"input": "\\u0085\\u009b", "output": "b"}', "control character"),
    ],
)  # fmt: skip
def test_json_that_python_could_read_and_no_step_could_use_gets_a_sentence(tmp_path, line, expected):
    (reason,) = reasons(write(tmp_path / "s", "chat.jsonl", line))
    assert reason.startswith("chat.jsonl, line 1: ") and expected in reason and "\n" not in reason


def test_memory_lines_that_differ_in_the_form_of_their_key_are_the_same_row(tmp_path):
    folder = write(tmp_path / "s", "memories.txt", "[Home town: Cork] Where?\n[ｈｏｍｅ\u00a0TOWN: Cork] Where?\n")
    assert reasons(folder) == ["memories.txt, line 2: the same row stands in line 1."]


def test_leaks_are_found_across_forms_files_and_slices(tmp_path):
    cafe = unicodedata.normalize("NFD", "Café?")
    folder = write(tmp_path / "s", "examples.jsonl", json.dumps(EXAMPLE | {"input": "Café?"}))
    write(folder, "chat.jsonl", json.dumps({"input": cafe, "output": "Yes."}))
    assert reasons(folder) == [
        "examples.jsonl, line 1: a test row that is trained on in chat.jsonl, line 1. Remove one of them."
    ]
    older = Examples(name="2020", test=[{"prompt": "Café?", "target": "b", "fact": None}])
    (folder / "examples.jsonl").unlink()
    assert reasons(folder, [older]) == ["chat.jsonl, line 1: a training row that slice 2020 tests with. Remove it."]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('names: {"caf\u00e9": a, "cafe\u0301": b}', "in forms that count as one"),
        ('names: {a: "\\ud83d"}', "invalid Unicode character"),
        ('names: {a: "x (답변)"}', "contains '(답변)'"),
        ('names: {" ": a}', "a name is empty"),
    ],
)
def test_names_of_relations_have_the_same_form_and_are_never_lost(tmp_path, content, expected):
    (reason,) = [each for each in reasons(write(tmp_path / "s", "relations.yaml", content)) if "no data" not in each]
    assert expected in reason


@pytest.mark.parametrize("name", ["facts.csv", "relations.yaml"])
def test_a_folder_with_a_files_name_gets_a_sentence(tmp_path, name):
    folder = write(tmp_path / "s", "chat.jsonl", json.dumps(GOOD_CHAT))
    (folder / name).mkdir()
    assert [reason.partition(":")[0] for reason in reasons(folder)] == [name]
