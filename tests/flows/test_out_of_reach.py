"""On a disk that takes no byte more, every command ends with one sentence, and nothing that was there is lost."""

import errno
import resource
import sqlite3
import sys
from contextlib import contextmanager

import pytest
from rich.console import Console

from flows import commands, comparing
from flows.chat import STORE
from flows.progress import Progress
from tasks.errors import OutOfReach, out_of_reach
from tasks.memory.store import memories_of, opened, remember
from tasks.params import load_params
from tests.flows.conftest import HEADER, all_of, run, shell
from tests.flows.test_add import contents

NEW = HEADER + "Fiji,capital,Suva\nNauru,capital,Yaren\n"
ROOM = 32  # bytes: enough for who holds the lock


@contextmanager
def no_room():
    """No file may grow above some bytes: the system refuses more, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def said(monkeypatch, capsys, *words):
    """The command's exit code, and what it said."""
    monkeypatch.setattr(sys, "argv", ["perennial", *words])
    with pytest.raises(SystemExit) as end:
        commands.main()
    output = capsys.readouterr()
    return end.value.code, output.err + output.out


@pytest.fixture
def stale(project, tmp_path, monkeypatch):
    """A project with a memory, whose newest slice is to be built again, and a folder beside it to be added."""
    run(project)
    with opened(project / STORE) as store:
        remember(store, "me", "town", "Cork")
    (project / "data/raw/two/facts.csv").write_text(HEADER + "Peru,capital,Puno\n")
    (tmp_path / "new").mkdir()
    (tmp_path / "new/facts.csv").write_text(NEW)
    return project


NAMED = {
    "run": "can't be used",
    "status": "",
    "add three ../new": "data/raw/.three.partial/facts.csv can't be used (File too large)",
    "methods replay": "can't be used",
    "learn ../new/facts.csv": ".perennial/memories.db can't be used",
    "memory forget town": ".perennial/memories.db can't be used",
    "memory export ../out.jsonl": ".perennial/memories.db can't be used",
    "remove two": "can't be used",
}


def test_on_a_full_disk_each_command_is_one_sentence_and_once_there_is_room_all_goes_on(stale, monkeypatch, capsys):
    before = contents(stale)
    for words, named in NAMED.items():
        with no_room():
            code, sentence = said(monkeypatch, capsys, *words.split())
        assert code in (0, 2, 74) and named in " ".join(sentence.split()), words
        assert "Traceback" not in sentence and len(sentence.splitlines()) <= (10 if words == "status" else 2), words
    kept = {path: total for path, total in before.items() if "examples" not in path.parts}
    assert kept.items() <= contents(stale).items()
    assert not list(stale.glob("data/**/*.partial")) and not (stale.parent / "out.jsonl").exists()
    with opened(stale / STORE) as store:
        assert [memory.value for memory in memories_of(store, "me")] == ["Cork"]
    assert run(stale) == all_of("cached") | {"dataset@two": "ran"}


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "a/b"),
            "a/b can't be used (No space left on device). Make",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "a"),
            "a can't be used (Read-only file system). Make",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "a\x1b"),
            "a\\x1b can't be used (Permission denied). See",
        ),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "A file here or in a library's cache can't be used (Disk"),
        (OSError(errno.ENOSPC, "No space left on device", "from", None, "to"), "to can't be used (No space"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "can't be used (No space left on device)"),
        (sqlite3.OperationalError("database or disk is full"), "can't be used (database or disk is full). Make room"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_error_of_the_disk_is_told_whoever_passes_it_on(error, sentence, wrapped):
    if wrapped:
        try:
            raise ValueError("the library's own words") from error
        except ValueError as other:
            error = other
    told = out_of_reach(error)
    assert sentence in str(told) and told.exit_code == 74
    assert out_of_reach(ValueError("a defect")) is None


def test_a_defect_is_told_where_no_traceback_can_be_kept(project, monkeypatch, capsys):
    def fails(*_):
        raise ValueError("http://ann:secret@host is wrong")

    monkeypatch.setattr("flows.status.print_status", fails)
    code, sentence = said(monkeypatch, capsys, "status")
    assert code == 1 and sentence == (
        "ValueError: http://host is wrong (.perennial/last_error.txt has the traceback.)\n"
    )
    assert "secret" not in (project / commands.LAST_ERROR).read_text()
    with no_room():
        code, sentence = said(monkeypatch, capsys, "status")
    assert code == 1 and sentence == "ValueError: http://host is wrong (--verbose shows the traceback.)\n"


def test_a_step_that_finds_no_room_says_so_in_one_sentence(project):
    with no_room():
        told = shell(project, sys.executable, "-m", "tasks", "origin", "--relations", "data/raw/relations.yaml",
                     "--out", "out", code=74)  # fmt: skip
    assert told.count("\n") == 1 and "can't be used (File too large)" in told


def test_a_comparison_ends_at_the_first_entry_for_which_there_is_no_room(project, monkeypatch):
    asked = []

    def run_isolated(words, *_):
        asked.append(words)
        raise OutOfReach("There is no room.")

    monkeypatch.setattr(comparing, "run_isolated", run_isolated)
    page = Progress(Console(quiet=True))
    at_work = comparing.Comparing(project, load_params(), 0, page, [("naive", 1), ("replay", 1)])
    with pytest.raises(OutOfReach, match="no room"):
        at_work.take("naive", 1)
    assert at_work.take("replay", 1) == comparing.STOPPED
    assert len(asked) == 1 and not at_work.failed
