"""The newest slices leave the timeline again, and nothing that came in is lost, wherever a kill falls."""

import shutil

import pytest
from rich.console import Console

from flows import add, remove
from flows.add import add_slice, with_slice
from flows.locks import only_run
from flows.remove import remove_slices, without_slices
from flows.status import print_status
from tasks.artifact import file_sum
from tasks.errors import BadInput, Busy
from tasks.params import load_params
from tests.flows.conftest import PROJECT, all_of, dvc, run, shell

TEXT = PROJECT / "params.yaml"
DATASET = "data/examples/two"


def slices():
    return list(load_params().timeline)


def removed(root):
    """What was moved aside: the folders' names without their moments, and the files in them."""
    folders = sorted((root / ".perennial/removed").iterdir())
    return {path.name.partition("-")[0]: sorted(file.name for file in path.iterdir()) for path in folders}


def test_taking_out_what_was_put_in_gives_the_same_bytes():
    before = TEXT.read_text()
    assert without_slices(with_slice(before, "2031", load_params(TEXT)), ["2031"]) == before


def test_lines_of_the_slices_go_and_no_other_byte_changes():
    before = TEXT.read_text()
    after = without_slices(before, ["2023", "2024"])
    gone = [line for line in before.splitlines() if line not in after.splitlines()]
    assert [line.split(":")[0].strip() for line in gone] == ['"2023"', '"2024"'] * 2
    assert "".join(line for line in before.splitlines(True) if line.rstrip("\n") not in gone) == after


def test_a_reference_that_is_empty_then_stays_one_and_entries_of_several_lines_go_whole(project):
    text = (project / "params.yaml").read_text()
    text = text.replace('"two": {previous: "one"}', '# the second\n  "two":\n    previous: "one"  # after the first')
    (project / "params.yaml").write_text(without_slices(text, ["two"]))
    assert slices() == ["one"] and load_params().reference == {}
    assert "# the second" in (project / "params.yaml").read_text()


def test_the_newest_slice_goes_with_what_was_built_from_it_and_comes_back_unchanged(project):
    run(project)
    built, facts = file_sum(project / DATASET / "manifest.json"), (project / "data/raw/two/facts.csv").read_text()
    said = remove_slices(project, "two")
    assert said.startswith("Removed two; one is the newest slice. What came in lies in .perennial/removed/two-")
    assert "The registry keeps what was published" in said
    assert slices() == ["one"] and removed(project) == {"two": ["facts.csv"]}
    assert not (project / DATASET).exists() and not (project / "data/raw/two").exists()
    assert run(project) == {"origin": "cached", "dataset@one": "cached"}
    assert "up to date" in dvc(project, "status")
    (kept,) = (project / ".perennial/removed").iterdir()
    add_slice(project, "two", kept)
    assert (project / "data/raw/two/facts.csv").read_text() == facts
    assert run(project) == all_of("cached") | {"dataset@two": "restored"}
    assert file_sum(project / DATASET / "manifest.json") == built


def test_an_older_one_names_those_that_follow_from_it_and_takes_them_along_only_if_asked(project, tmp_path):
    shutil.copytree(project / "data/raw/two", tmp_path / "three")
    (tmp_path / "three/facts.csv").write_text("subject,relation,object\nFiji,capital,Suva\n")
    add_slice(project, "three", tmp_path / "three")
    before = (project / "params.yaml").read_text()
    with pytest.raises(BadInput, match="three follow from two. .*`perennial remove two --with-later`"):
        remove_slices(project, "two")
    assert (project / "params.yaml").read_text() == before and (project / "data/raw/two").exists()
    remove_slices(project, "two", with_later=True)
    assert slices() == ["one"] and removed(project) == {"two": ["facts.csv"], "three": ["facts.csv"]}


@pytest.mark.parametrize("name", ["one", "nine", "base", "topics", "../raw/two", ""])
def test_the_oldest_and_what_is_no_slice_are_refused(project, name):
    (project / "data/raw/topics").mkdir()
    with pytest.raises(BadInput, match="oldest slice|There is no slice"):
        remove_slices(project, name, with_later=True)
    assert slices() == ["one", "two"] and (project / "data/raw/topics").exists()


def test_nothing_is_removed_while_a_run_is_at_work(project):
    with only_run(project), pytest.raises(Busy, match="at work"):
        remove_slices(project, "two")


@pytest.mark.parametrize("fails", ["_replace_params", "_move_aside"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_anywhere_leaves_what_the_same_command_finishes(project, monkeypatch, fails, when):
    run(project)
    real = getattr(remove, fails)

    def killed(*arguments):
        if when == "after":
            real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(remove, fails, killed)
    with pytest.raises(KeyboardInterrupt):
        remove_slices(project, "two")
    monkeypatch.undo()
    monkeypatch.chdir(project)
    print_status(project, Console(quiet=True))  # the state is whole,
    if removed_already := not (project / "data/raw/two").exists():
        with pytest.raises(BadInput, match="There is no slice 'two'"):
            remove_slices(project, "two")
    else:
        remove_slices(project, "two")  # or is made so
    assert slices() == ["one"] and removed(project) == {"two": ["facts.csv"]}
    assert removed_already == (fails == "_move_aside" and when == "after")


def test_a_slice_that_lost_its_outputs_to_a_kill_gets_them_back_in_the_next_run(project, monkeypatch):
    run(project)
    monkeypatch.setattr(remove, "_replace_params", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        remove_slices(project, "two")
    assert run(project) == all_of("cached") | {"dataset@two": "restored"}


def test_params_that_cant_be_shortened_are_left_as_they_are(project):
    run(project)
    path = project / "params.yaml"
    path.write_text(
        path.read_text().replace('reference:\n  "two": {previous: one/lm}', 'reference: {"two": {previous: one/lm}}')
    )
    before = path.read_text()
    with pytest.raises(BadInput, match="params.yaml: write 'reference' with one slice per line"):
        remove_slices(project, "two")
    assert path.read_text() == before and (project / "data/raw/two").exists()
    assert (project / DATASET).exists()


@pytest.mark.parametrize("checked_out", [True, False])
def test_of_large_data_dvcs_pointer_goes_with_it_or_is_kept_in_its_place(project, tmp_path, monkeypatch, checked_out):
    shutil.copytree(project / "data/raw/two", tmp_path / "three")
    (tmp_path / "three/facts.csv").write_text("subject,relation,object\nFiji,capital,Suva\n")
    monkeypatch.setattr(add, "LARGE", 10)
    add_slice(project, "three", tmp_path / "three")
    if not checked_out:
        shutil.rmtree(project / "data/raw/three")
    remove_slices(project, "three")
    assert not list((project / "data/raw").glob("three*"))
    assert "three" not in shell(project, "git", "check-ignore", "data/raw/three", code=1)
    (kept,) = (project / ".perennial/removed").iterdir()
    assert kept.is_dir() if checked_out else "md5" in kept.read_text()
