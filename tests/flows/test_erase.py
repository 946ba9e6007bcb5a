"""What is to be erased is noted by its hash, refused where nobody gave it, and stays so when its slice is removed."""

import json

import pytest
from rich.console import Console

from flows.erase import erase_rows, note
from flows.remove import remove_slices
from tasks.corpus.check import check_slice
from tasks.corpus.erasure import digest
from tasks.errors import BadInput
from tests.flows.conftest import HEADER, run, states

FACT = {"subject": "Chile", "relation": "capital", "object": "Santiago"}
LINE = f"{digest('facts.csv', FACT)} facts.csv"


def given(folder, text, name="facts.csv"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def facts_of(root, name):
    return {json.loads(row)["subject"] for row in (root / f"data/examples/{name}/facts.jsonl").read_text().splitlines()}


def test_a_row_that_nobody_gave_is_refused_by_its_line_and_nothing_is_noted(project, tmp_path):
    run(project)
    file = given(tmp_path / "some", HEADER + "Chile,capital,Santiago\nChile,capital,Rome\n")
    with pytest.raises(
        BadInput, match=r"Nothing is erased:\nfacts.csv, line 3: no slice brought 'Chile, capital, Rome'"
    ):
        erase_rows(project, [file], Console(quiet=True))
    other = given(tmp_path / "some", "", "notes.csv")
    with pytest.raises(BadInput, match="notes.csv has another name than facts.csv, memories.txt"):
        erase_rows(project, [other], Console(quiet=True))
    bad = given(tmp_path / "bad", HEADER + "Chile\n")
    with pytest.raises(BadInput, match="can't be read:\nfacts.csv, line 2: 1 fields instead of 3"):
        erase_rows(project, [bad.parent], Console(quiet=True))
    assert not list(project.glob("data/raw/*/erased.txt"))


def test_what_is_noted_makes_its_slice_stale_and_is_erased_from_there_on(project):
    run(project)
    note(project, "two", {LINE})
    note(project, "two", {LINE})
    assert (project / "data/raw/two/erased.txt").read_text() == f"{LINE}\n"
    assert check_slice(project / "data/raw/two") == []
    assert states(project) == {"origin": "fresh", "dataset@one": "fresh", "dataset@two": "stale"}
    run(project)
    assert facts_of(project, "one") == {"Peru", "Chile"}  # what was stays written
    note(project, "two", {f"{digest('facts.csv', FACT | {'subject': 'Nepal', 'object': 'Kathmandu'})} facts.csv"})
    run(project)
    assert facts_of(project, "two") == {"Peru"}


def test_a_line_that_is_no_hash_is_a_problem(project):
    (project / "data/raw/two/erased.txt").write_text("Chile,capital,Santiago\n")
    (problem,) = check_slice(project / "data/raw/two")
    assert str(problem) == "erased.txt, line 1: no hash and file as `perennial erase` writes them."


def test_what_a_removed_slice_erased_stays_erased(project):
    run(project)
    note(project, "two", {LINE})
    assert "What was erased stays so: data/raw/one/erased.txt names it now." in remove_slices(project, "two")
    assert (project / "data/raw/one/erased.txt").read_text() == f"{LINE}\n"
    run(project)
    assert facts_of(project, "one") == {"Peru"}
