"""Tables of other people's form become a file of a slice, or a sentence says why not."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from datasets import Dataset, DatasetDict, disable_progress_bars
from hypothesis import given
from hypothesis import strategies as st

from tasks.corpus.raw import read_raw
from tasks.corpus.tables import Columns, is_table, write_table
from tasks.errors import BadInput

FEWREL = Path(__file__).parents[2].parent / "shared/data/fewrel/relations.jsonl"
PEOPLE = pd.DataFrame({"person": ["Ann Lee", "Bo"], "what": ["employer", "born"], "which": ["Acme", 1990]})
NAMED = {"subject": "person", "relation": "what", "object": "which"}
FACTS = "subject,relation,object\nAnn Lee,employer,Acme\nBo,born,1990\n"


def written(path, columns, folder, where=()):
    folder.mkdir(exist_ok=True)
    write_table(path, Columns(columns, dict(where)), "2025", folder)
    (made,) = folder.iterdir()
    return made.name, made.read_text()


def saved(table, form, folder):
    path = folder / f"table.{form}"
    if form == "csv":
        table.to_csv(path, index=False)
    elif form == "tsv":
        table.to_csv(path, index=False, sep="\t")
    elif form == "semicolons.csv":
        table.to_csv(path, index=False, sep=";")
    elif form == "jsonl":
        table.to_json(path, orient="records", lines=True, force_ascii=False)
    elif form == "parquet":
        table.astype(str).to_parquet(path)
    else:
        disable_progress_bars()
        path = folder / "saved"
        Dataset.from_pandas(table.astype(str)).save_to_disk(path)
    return path


@pytest.mark.parametrize("form", ["csv", "tsv", "semicolons.csv", "jsonl", "parquet", "dataset"])
def test_every_form_gives_the_same_facts(tmp_path, form):
    path = saved(PEOPLE, form, tmp_path)
    assert is_table(path)
    assert written(path, NAMED, tmp_path / "out") == ("facts.csv", FACTS)


def test_a_wide_table_has_a_relation_in_each_column(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text("name,home_town,employer\nAnn,Oslo,\nBo,,Acme\n")
    made = written(path, {"subject": "name"}, tmp_path / "out")
    assert made == ("facts.csv", "subject,relation,object\nAnn,home town,Oslo\nBo,employer,Acme\n")


@pytest.mark.parametrize(
    ("columns", "named", "file", "text"),
    [
        ({"prompt": ["2+2?"], "answer": [4]}, {"input": "prompt", "target": "answer"}, "examples.jsonl",
         '{"input": "2+2?", "target": "4", "split": "train"}\n'),
        ({"q": ["Hi"], "a": ["Hello"], "tags": [["a", "b"]]}, {"input": "q", "output": "a"}, "chat.jsonl",
         '{"input": "Hi", "output": "Hello"}\n'),
        ({"body": ["News."], "day": [datetime(2025, 3, 4)]}, {"text": "body", "date": "day"}, "texts.jsonl",
         '{"text": "News.", "date": "2025-03-04"}\n'),
        ({"text": ["No day."]}, {}, "texts.jsonl", '{"text": "No day.", "date": "2025"}\n'),
        ({"key": ["tea"], "value": ["green"], "message": ["What do I\n drink?"]}, {}, "memories.txt",
         "[tea: green] What do I drink?\n"),
    ],
)  # fmt: skip
def test_the_columns_tell_which_file_it_is(tmp_path, columns, named, file, text):
    pd.DataFrame(columns).to_parquet(tmp_path / "t.parquet")
    assert written(tmp_path / "t.parquet", named, tmp_path / "out") == (file, text)


PERSONA = (
    "data_type,input_data,output_data,output_message,memory\n"
    "train,I moved to Cork,,How nice!,[home town: Cork]\n"
    "train,Hello,,Hello you!,\n"
    "valid,Bye,,Bye!,\n"
)
RELATIONS = (
    "text;head;tail;relation;year\n"
    '"Ada, who wed Bob, sang.";Ada;Bob;person related: spouse;2021\n'
    "Cy is from Oslo.;Cy;Oslo;person related: birthplace;2022\n"
)


@pytest.mark.parametrize(
    ("content", "named", "where", "file", "rows"),
    [
        (PERSONA, {"input": "input_data", "output": "{memory} {output_message}"}, {"data_type": "train"}, "chat.jsonl",
         ['{"input": "I moved to Cork", "output": "[home town: Cork] How nice!"}',
          '{"input": "Hello", "output": "Hello you!"}']),
        (RELATIONS, {"input": "{text} The relationship between {head} and {tail} is", "target": "relation"},
         {"year": "2021"}, "examples.jsonl",
         ['{"input": "Ada, who wed Bob, sang. The relationship between Ada and Bob is", '
          '"target": "person related: spouse", "split": "train"}']),
        ("en,ko\nGood day,안녕하세요\n", {"input": "In Korean {{ko}}: {en}", "target": "ko"}, {}, "examples.jsonl",
         ['{"input": "In Korean {ko}: Good day", "target": "안녕하세요", "split": "train"}']),
        ("a,b {c}\n1,2\n", {"input": "a", "target": "b {c}"}, {}, "examples.jsonl",  # a column that is called so
         ['{"input": "1", "target": "2", "split": "train"}']),
        ("first,last,born,split\nAda,Lovelace,1815,train\nBob,Ray,1900,test\n", {"subject": "{first} {last}"},
         {"split": "train"}, "facts.csv", ["subject,relation,object", "Ada Lovelace,born,1815"]),
        ("q\nTell me.\n", {"input": "q", "target": "{q}"}, {}, "examples.jsonl",
         ['{"input": "Tell me.", "target": "Tell me.", "split": "train"}']),
        ("q\nTell me.\n", {"input": "q", "target": "q"}, {}, "examples.jsonl",
         ['{"input": "Tell me.", "target": "Tell me.", "split": "train"}']),
        ("utterance,intent,date\npay it,pay bill,2020\n", {"input": "Intent of: {utterance}", "target": "intent"},
         {"date": "2020", "intent": "pay bill"}, "examples.jsonl",
         ['{"input": "Intent of: pay it", "target": "pay bill", "split": "train"}']),
    ],
    ids=["persona", "relations", "translation", "braces", "wide", "echo", "twice", "intents"],
)  # fmt: skip
def test_a_column_is_made_of_others_and_some_rows_are_taken(tmp_path, content, named, where, file, rows):
    path = tmp_path / "t.csv"
    path.write_text(content)
    assert written(path, named, tmp_path / "out", where) == (file, "".join(f"{row}\n" for row in rows))


@pytest.mark.parametrize(
    ("named", "where", "sentence"),
    [
        ({"text": "{b}"}, {}, "t.csv has no column 'b'. Its columns are: a, n."),
        ({"text": "{a"}, {}, "--column {a: expected '}' before end of string. A brace that is meant is written twice."),
        ({"text": "{}"}, {}, "--column {}: in braces a column's name is expected"),
        ({"text": "{a:>9}"}, {}, "--column {a:>9}: in braces a column's name is expected"),
        ({"text": "{a!r}"}, {}, "--column {a!r}: in braces a column's name is expected"),
        ({"text": "{a.b}"}, {}, "t.csv has no column 'a.b'."),
        ({"text": "a"}, {"n": "9"}, "t.csv has no row with n '9'. There are: 1, 2."),
        ({"text": "a"}, {"m": "9"}, "t.csv has no column 'm'. Its columns are: a, n."),
    ],
)
def test_what_can_not_be_taken_so_is_told(tmp_path, named, where, sentence):
    (tmp_path / "t.csv").write_text("a,n\nx,1\ny,2\n")
    with pytest.raises(BadInput) as refused:
        write_table(tmp_path / "t.csv", Columns(named, where), "2025", tmp_path)
    assert sentence in str(refused.value)


@pytest.mark.skipif(not FEWREL.exists(), reason="the extracts of public data are not beside this project")
def test_one_file_of_many_slices_becomes_as_many(tmp_path):
    found = [written(FEWREL, {}, tmp_path / name, {"slice": name}) for name in ("task1", "task8")]
    counts = [[text.count(f'"split": "{split}"') for split in ("train", "test")] for _, text in found]
    assert counts == [[240, 80], [240, 80]] and {name for name, _ in found} == {"examples.jsonl"}


def test_what_is_no_split_to_train_on_is_to_test_with(tmp_path):
    disable_progress_bars()
    parts = {name: Dataset.from_dict({"input": [name], "target": ["x"]}) for name in ("train", "validation", "test")}
    DatasetDict(parts).save_to_disk(tmp_path / "saved")
    assert is_table(tmp_path / "saved") and not is_table(tmp_path)
    _, text = written(tmp_path / "saved", {}, tmp_path / "out")
    assert text == (
        '{"input": "test", "target": "x", "split": "test"}\n{"input": "train", "target": "x", "split": "train"}\n'
        '{"input": "validation", "target": "x", "split": "test"}\n'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "3"), (2.5, "2.5"), (True, "True"), (None, ""), (date(2025, 1, 2), "2025-01-02"),
     (datetime(2025, 1, 2, 3, 4), "2025-01-02 03:04:00"), (float("nan"), ""), (pd.NaT, ""), (Decimal("1.50"), "1.50")],
)  # fmt: skip
def test_a_cell_is_written_as_people_write_it(tmp_path, value, text):
    pd.DataFrame({"input": ["x"], "target": [value]}).to_parquet(tmp_path / "t.parquet")
    _, made = written(tmp_path / "t.parquet", {}, tmp_path / "out")
    assert made == f'{{"input": "x", "target": "{text}", "split": "train"}}\n'


@pytest.mark.parametrize(
    ("name", "content", "columns", "sentence"),
    [
        ("t.csv", "a,b\n1,2\n", {"subject": "c"}, "t.csv has no column 'c'. Its columns are: a, b."),
        ("t.csv", "a,b\n1,2\n", {}, "t.csv: its columns (a, b) make no file of a slice. Name them by `--column NAME"),
        ("t.csv", "subject\nx\n", {}, "t.csv: beside the subject a column for each relation is expected."),
        ("t.csv", "text\n", {}, "t.csv has no rows."),
        ("t.csv", "", {}, "t.csv can't be read as a table (No columns to parse from file)."),
        ("t.csv", "a,b\n1,2,3\n1,2,3,4\n", {}, "t.csv can't be read as a table ("),
        ("t.jsonl", '{"text": "x"}\n{"text": \n', {}, "t.jsonl, line 2: no JSON ("),
        ("t.jsonl", "[1]\n", {}, "t.jsonl, line 1: an object with keys and values is expected."),
        ("t.jsonl", '{"text": ["x"]}\n', {}, "t.jsonl, row 1: the column 'text' holds more than a text or a"),
        ("t.jsonl", '{"text": "a\\ud800b"}\n', {}, "t.jsonl, row 1: the column 'text' has half a character."),
        ("t.parquet", "no parquet", {}, "t.parquet can't be read as a table ("),
        ("saved/dataset_info.json", "{}", {}, "saved can't be read as a table ("),
    ],
)  # fmt: skip
def test_what_is_no_such_table_is_told_in_a_sentence(tmp_path, name, content, columns, sentence):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    path = path.parent if "/" in name else path
    (tmp_path / "out").mkdir()
    with pytest.raises(BadInput) as refused:
        write_table(path, Columns(columns), "2025", tmp_path / "out")
    assert str(refused.value).startswith(f"{path.parent}/{sentence}") and not list((tmp_path / "out").iterdir())


def test_a_list_in_a_column_that_is_used_is_refused_by_its_row(tmp_path):
    pd.DataFrame({"text": [["a"], ["b"]]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(BadInput, match=r"t.parquet, row 1: the column 'text' holds more than a text or a number"):
        write_table(tmp_path / "t.parquet", Columns(), "2025", tmp_path)


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), min_size=1, max_size=5))
def test_whatever_stands_in_the_cells_the_file_is_read_or_its_rows_are_named(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("any")
    with (folder / "t.jsonl").open("w") as file:
        pd.DataFrame(rows, columns=["subject", "relation", "object"]).to_json(file, orient="records", lines=True)
    (folder / "out").mkdir()
    write_table(folder / "t.jsonl", Columns(), "2025", folder / "out")
    raw = read_raw(folder / "out")
    assert len(raw.facts) + len(raw.problems) >= len(rows)
    for _, fact in raw.facts:
        assert set(fact) == {"subject", "relation", "object"}
