"""A folder of new data becomes the next slice, or nothing is changed."""

import shutil

import pytest

from flows import add
from flows.add import add_slice, with_slice
from tasks.artifact import file_sum
from tasks.errors import BadInput, Busy
from tasks.params import load_params
from tests.end_to_end.test_one_file_alone import ALONE
from tests.flows.conftest import HEADER, PROJECT, all_of, dvc, perennial, run


@pytest.fixture
def new(tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "facts.csv").write_text(HEADER + "Peru,capital,Quito\nFiji,capital,Suva\n")
    (folder / "memories.txt").write_text("[favourite food: soup] What shall I eat?\n")
    return folder


def contents(root):
    """Every file that a user sees in git, by its sum."""
    files = [
        path
        for name in ("data/raw", "data/examples", "params.yaml", "dvc.yaml")
        for path in [root / name, *(root / name).rglob("*")]
    ]
    return {path: file_sum(path) for path in files if path.is_file()}


def test_a_line_is_added_and_no_other_byte_of_the_parameters_changes():
    path = PROJECT / "params.yaml"
    params, before = load_params(path), path.read_text()
    after = with_slice(before, "2031", params)
    last = list(params.timeline)[-1]
    added = [line for line in after.splitlines() if line not in before.splitlines()]
    assert added == [f'  "2031": {{previous: "{last}"}}', f'  "2031": {{previous: {last}/naive}}']
    assert "".join(line for line in after.splitlines(True) if line.rstrip("\n") not in added) == before


def test_an_unused_reference_stays_unused(project):
    text = (project / "params.yaml").read_text().replace('reference:\n  "two": {previous: one/lm}', "reference: {}")
    (project / "params.yaml").write_text(text)
    after = with_slice(text, "three", load_params(project / "params.yaml"))
    assert "reference: {}" in after
    assert after.count("three") == 1


def test_slices_written_over_several_lines_are_appended_to(project):
    text = (
        (project / "params.yaml")
        .read_text()
        .replace('"two": {previous: "one"}', '"two":\n    previous: one  # the first')
    )
    (project / "params.yaml").write_text(text)
    (project / "params.yaml").write_text(with_slice(text, "three", load_params(project / "params.yaml")))
    assert list(load_params(project / "params.yaml").timeline) == ["one", "two", "three"]


def test_only_the_new_slices_steps_run(project, new):
    run(project)
    said = add_slice(project, "three", new)
    assert said.startswith("Added three after two")
    assert "dataset@three" in dvc(project, "stage", "list", "--name-only").split()
    assert run(project) == all_of("cached") | {"dataset@three": "ran"}
    assert "up to date" in dvc(project, "status")


def test_the_copy_holds_the_data_and_nothing_hidden(project, new):
    (new / ".DS_Store").write_text("x")
    add_slice(project, "three", new)
    assert sorted(path.name for path in (project / "data/raw/three").iterdir()) == ["facts.csv", "memories.txt"]


def test_bad_rows_are_listed_by_file_and_line_and_nothing_is_written(project, new):
    with (new / "facts.csv").open("a") as file:
        file.writelines(f"Peru,capital,City {number}\n" for number in range(30))
    before = contents(project)
    with pytest.raises(BadInput, match=r"facts.csv, line 4: ") as refused:
        add_slice(project, "three", new)
    lines = str(refused.value).splitlines()
    assert len(lines) == 22
    assert lines[-1] == "... and 10 more."
    assert refused.value.exit_code == 2
    assert contents(project) == before


def test_what_a_sentence_quotes_reaches_no_terminal_as_a_command(project, new):
    (new / "facts.csv").write_text("\x1b[31msubject,relation\x07\n")
    (new / "chat.jsonl").write_text('{"\\u001b[2J": 1, "\\u001b[2J": 2}\n')
    (new / "\x1b[1m.csv").write_text("x")
    with pytest.raises(BadInput, match="is not added") as refused:
        add_slice(project, "three", new)
    said = str(refused.value)
    assert said.replace("\n", "").isprintable()
    assert "not '\\x1b[31msubject,relation\\x07'" in said and "'\\x1b[2J' is given twice" in said


@pytest.mark.parametrize(
    "name", ["one", "base", "naive", "../up", "", "a b", "x" * 65, "2025.bak", "x.dvc", "Thumbs.db"]
)
def test_names_that_exist_or_mean_something_else_are_refused(project, new, name):
    before = contents(project)
    with pytest.raises(BadInput):
        add_slice(project, name, new)
    assert contents(project) == before


@pytest.mark.parametrize("fails", ["_append", "_check_graph"])
def test_a_failure_on_the_way_leaves_everything_as_it_was(project, new, monkeypatch, fails):
    before = contents(project)
    real = getattr(add, fails)
    monkeypatch.setattr(add, fails, lambda *arguments: (real(*arguments), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        add_slice(project, "three", new)
    assert contents(project) == before


def test_an_add_that_was_killed_after_copying_is_finished_by_the_next(project, new):
    add._taken(new, {}, "three", project / "data/raw/three").rename(project / "data/raw/three")
    add_slice(project, "three", new)
    assert list(load_params().timeline) == ["one", "two", "three"]


def test_what_is_added_is_what_was_checked(project, new, monkeypatch):
    def problems_of_rows(*given):
        (new / "facts.csv").write_text("no facts any more")
        return add_problems(*given)

    add_problems = add.problems_of_rows
    monkeypatch.setattr(add, "problems_of_rows", problems_of_rows)
    add_slice(project, "three", new)
    assert (project / "data/raw/three/facts.csv").read_text().startswith(HEADER)


def test_other_data_under_the_name_is_never_overwritten(project, new):
    (project / "data/raw/three").mkdir()
    (project / "data/raw/three/facts.csv").write_text(HEADER)
    with pytest.raises(BadInput, match="holds other data"):
        add_slice(project, "three", new)


def test_data_can_be_put_in_place_before(project, new):
    target = project / "data/raw/three"
    new.rename(target)
    add_slice(project, "three", target)
    assert list(load_params().timeline) == ["one", "two", "three"]


def test_large_data_goes_to_dvc(project, new, monkeypatch):
    monkeypatch.setattr(add, "LARGE", 10)
    said = add_slice(project, "three", new)
    assert "DVC keeps the data" in said
    assert (project / "data/raw/three.dvc").exists()
    assert run(project)["dataset@three"] == "ran"


def test_each_kind_of_file_alone_can_be_added(project, tmp_path):
    names = [name.partition(".")[0] for name in ALONE]
    for folder, (file, content) in zip(names, ALONE.items(), strict=True):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text(content)
        add_slice(project, folder, tmp_path / folder)
    assert run(project) == all_of("ran") | {f"dataset@{name}": "ran" for name in names}


def test_nothing_is_added_while_a_run_is_at_work(project, new):
    with add.only_run(project), pytest.raises(Busy):
        add_slice(project, "three", new)


def test_what_was_normalised_is_told(project, new):
    (new / "facts.csv").write_text(f"{HEADER}New\u00a0York,state,NY\n\ufeffFiji,capital,Suva\n", encoding="utf-8")
    (new / "chat.jsonl").write_text('{"input": "Hi\\u200b", "output": "Hello"}\n')
    said = add_slice(project, "three\u200b", new)
    assert said.startswith("Added three after two")
    assert "3 texts were normalised (facts.csv 2, chat.jsonl 1)" in said


def test_texts_that_no_solved_memory_learns_are_told(project, new):
    (new / "texts.jsonl").write_text(
        '{"text": "It rained.", "date": "2024-01-02"}\n{"text": "It snowed.", "date": "2024-01-03"}\n'
    )
    path = project / "params.yaml"
    assert load_params(path).stage2.how == "solved"
    assert "Not learnt: 2 texts of texts.jsonl, as stage2.how is solved" in add_slice(project, "three", new)
    path.write_text(path.read_text().replace("how: solved ", "how: refit "))
    (new / "texts.jsonl").write_text('{"text": "It hailed.", "date": "2024-01-04"}\n')
    assert "Not learnt" not in add_slice(project, "four", new)


def test_a_slice_is_checked_against_one_that_no_run_has_built_yet(project, new):
    (new / "examples.jsonl").write_text('{"input": "in", "target": "out", "split": "train"}\n')
    add_slice(project, "three", new)
    (new / "examples.jsonl").write_text('{"input": "in", "target": "out", "split": "test"}\n')
    with pytest.raises(BadInput, match=r"examples.jsonl, line 1: a test row that is trained on in slice three"):
        add_slice(project, "four", new)


@pytest.fixture
def pages(tmp_path):
    folder = tmp_path / "pages"
    (folder / "sub").mkdir(parents=True)
    (folder / "hall.md").write_text(
        "# Long Hall\n\nThe hall was built in 1931 by Ann Lee, who lived beside the pier.\n"
    )
    (folder / "sub/rules.html").write_text("<h1>Rules</h1><h2>May I smoke?</h2><p>No, never.</p>")
    return folder


def test_a_folder_of_pages_becomes_a_slice_of_rows(project, pages):
    said = add_slice(project, "three", pages)
    assert "Made of 2 pages: 2 facts, 1 question with its answer, 1 text; made.jsonl says from where." in said
    made = project / "data/raw/three"
    assert sorted(path.name for path in made.iterdir()) == [
        "examples.jsonl", "facts.csv", "made.jsonl", "relations.yaml", "texts.jsonl",
    ]  # fmt: skip
    assert "hall,built by,Ann Lee" in (made / "facts.csv").read_text()
    assert '"source": "sub/rules.html § May I smoke?"' in (made / "made.jsonl").read_text()
    assert run(project)["dataset@three"] == "ran"


def test_pages_are_added_beside_data_from_a_folder_of_their_own(project, new, pages):
    shutil.copy(pages / "hall.md", new)
    with pytest.raises(BadInput, match="hall.md: unknown file"):
        add_slice(project, "three", new)
    (new / "hall.md").unlink()
    pages.rename(new / "pages")
    add_slice(project, "three", new)
    facts = (project / "data/raw/three/facts.csv").read_text().splitlines()
    assert facts[1:3] == ["Peru,capital,Quito", "Fiji,capital,Suva"] and len(facts) == 5


def test_pages_that_cant_be_used_change_nothing(project, pages):
    before = contents(project)
    (pages / "bad.md").write_bytes(b"\xff")
    with pytest.raises(BadInput, match="bad.md, line 1: byte 1 is no UTF-8"):
        add_slice(project, "three", pages)
    for name in ("bad.md", "hall.md", "sub/rules.html"):
        (pages / name).write_text("# Short\n\nWell.\n" if name.endswith("md") else "<p>Well.</p>")
    with pytest.raises(BadInput, match="nothing can be made of its 3 pages"):
        add_slice(project, "three", pages)
    assert contents(project) == before


def test_an_add_of_pages_that_was_killed_after_copying_is_finished_by_the_next(project, pages, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(add, "_append", lambda *_: (_ for _ in ()).throw(SystemExit))
        patched.setattr(add.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(SystemExit):
            add_slice(project, "three", pages)
    assert (project / "data/raw/three/facts.csv").exists()
    assert "Added three" in add_slice(project, "three", pages)
    assert not list((project / "data/raw").glob(".*three*"))


def test_a_table_is_added_by_its_columns(project):
    table = project.parent / "people.tsv"
    table.write_text("land\twhat\tis\nFiji\tcapital\tSuva\nPeru\tcapital\tLima\n")
    columns = ("--column", "subject=land", "--column", "relation=what", "--column", "object=is")
    assert "Added three after two" in perennial(project, "add", "three", f"{table}", *columns)
    facts = project / "data/raw/three/facts.csv"
    assert facts.read_text() == "subject,relation,object\nFiji,capital,Suva\nPeru,capital,Lima\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--column", "subject"), "--column subject: write NAME=COLUMN, as in --column subject=person."),
        (("--where", "what=a", "--where", "what=b"), "--where what is given twice, and can hold but one of them."),
        (("--column", "subject=who"), "people.tsv has no column 'who'. Its columns are: land, what, is."),
        ((), "people.tsv: its columns (land, what, is) make no file of a slice."),
        (("--column", "subject=land", "--column", "relation=what", "--column", "object=is"),
         "people.tsv is not added:\nfacts.csv, line 2: 'object' is empty."),
    ],
)  # fmt: skip
def test_a_table_that_makes_no_slice_changes_nothing(project, words, sentence):
    table = project.parent / "people.tsv"
    table.write_text("land\twhat\tis\nFiji\tcapital\t\n")
    before = contents(project)
    assert sentence in perennial(project, "add", "three", f"{table}", *words, code=2)
    assert contents(project) == before


def test_a_file_that_is_no_table_is_called_by_its_kind(project):
    (project.parent / "people.xlsx").write_text("x")
    said = perennial(project, "add", "three", f"{project.parent / 'people.xlsx'}", code=2)
    assert "people.xlsx is no table that is read here (.csv, .tsv, .jsonl, .ndjson, .parquet). Give pages in" in said


def test_a_folder_of_files_has_no_columns(project, new):
    assert "is no table, so it has no columns to name" in perennial(
        project, "add", "three", f"{new}", "--column", "subject=land", code=2
    )
