"""`perennial memory`, on a project's own store."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows import commands, project
from flows.chat import STORE
from tasks.errors import BadInput, Corrupt
from tasks.memory.store import learn, memories_of, opened, remember

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path, monkeypatch):
    for name in project.ROOT_FILES:
        shutil.copy(PROJECT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with opened(tmp_path / STORE) as connection:
        remember(connection, "me", "home town", "Cork")
        remember(connection, "me", "home town", "Leeds")
        remember(connection, "me", "오늘 일정", "치과 [bold]예약[/bold]")
        remember(connection, "ann", "food", "ramen")
        learn(connection, "me", "notes.md", "d", [("Travel", "to Cork"), ("Food", "soup")])
    return tmp_path


def perennial(*arguments):
    """What is printed; a mistake is raised, as `main` catches it."""
    done = CliRunner().invoke(commands.app, ["memory", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def kept(root, user="me"):
    with opened(root / STORE) as connection:
        return {memory.key: memory.value for memory in memories_of(connection, user)}


def test_the_list_shows_memories_as_they_are_and_documents(root):
    said = perennial("list")
    assert "치과 [bold]예약[/bold]" in said and "Leeds" in said and "ramen" not in said and "Cork" not in said
    assert "00:00" in said  # until midnight
    assert said.endswith("notes.md: 2 passages\n")
    assert "ramen" in perennial("list", "--user", "ann")
    assert perennial("list", "--user", "eve") == "Nothing is remembered of eve.\n"


def test_the_history_of_a_key_is_listed_oldest_first(root):
    said = perennial("list", "--history", "home town")
    assert said.index("Cork") < said.index("Leeds")
    assert perennial("list", "--history", "food") == "'food' never had a value.\n"


def test_a_key_a_document_and_everything_can_be_forgotten(root):
    assert perennial("forget", "home town") == "'home town' is forgotten: 2 values.\n"
    assert perennial("forget", "--document", "notes.md") == "'notes.md' is forgotten: 2 passages.\n"
    assert perennial("forget", "--all") == "All that was kept of me is forgotten: 1 valid memory.\n"
    assert kept(root) == {} and kept(root, "ann") == {"food": "ramen"}


@pytest.mark.parametrize("arguments", [[], ["food", "--all"], ["--all", "--document", "notes.md"]])
def test_what_is_to_be_forgotten_is_named_once(root, arguments):
    with pytest.raises(BadInput, match="KEY, or --document SOURCE, or --all"):
        perennial("forget", *arguments)


@pytest.mark.parametrize("arguments", [["forget", "food"], ["forget", "--document", "x"], ["pin", "food"]])
def test_what_is_unknown_is_said_to_be(root, arguments):
    with pytest.raises(BadInput, match=r"There is no '(food|x)' of me\. `perennial memory list`"):
        perennial(*arguments)


@pytest.mark.parametrize("nothing", ["", " ", "\u200b"])
@pytest.mark.parametrize("arguments", [["forget"], ["forget", "--document"], ["pin"], ["list", "--history"]])
def test_an_empty_name_is_refused(root, arguments, nothing):
    with pytest.raises(BadInput, match="An empty name was given"):
        perennial(*arguments, nothing)
    assert len(kept(root)) == 2


@pytest.mark.parametrize(
    "arguments", [["list"], ["forget", "--all"], ["export", "new"], ["import", "dvc.yaml"], ["pin", "k"]]
)
def test_an_empty_users_name_is_refused(root, arguments):
    with pytest.raises(BadInput, match="'' can't be a user's name"):
        perennial(*arguments, "--user", " ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", r"is a folder\. Name a new file in it"),
        ("params.yaml/me.jsonl", r"me\.jsonl can't be written \(.*\)\. Name another file"),
        ("a" * 300, r"can't be written \(File name too long\)"),
        ("a" * 250, r"can't be written \(File name too long\)"),
        ("loop/me.jsonl", "can't be written"),
        ("/proc/me.jsonl", "can't be written"),
    ],
)
def test_an_export_that_can_not_be_written_is_named_and_leaves_nothing(root, name, message):
    (root / "loop").symlink_to("loop")
    before = sorted(root.iterdir())
    with pytest.raises(BadInput, match=message):
        perennial("export", name)
    assert sorted(root.iterdir()) == before


def test_an_export_is_its_owners_alone_whatever_a_kill_left_in_its_place(root):
    left = root / ".out.jsonl.partial"
    left.touch(mode=0o644)
    before = os.umask(0o022)
    try:
        perennial("export", "out.jsonl")
    finally:
        os.umask(before)
    assert (root / "out.jsonl").stat().st_mode & 0o777 == 0o600
    assert not left.exists()


def test_an_export_for_which_the_disk_has_no_room_leaves_nothing(root, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = sorted(root.iterdir())
    monkeypatch.setattr("tasks.artifact.os.fsync", full)
    with pytest.raises(BadInput, match=r"can't be written \(No space left on device\)"):
        perennial("export", "me.jsonl")
    assert sorted(root.iterdir()) == before


def test_a_pin_shows_in_the_list_until_it_is_taken_off(root):
    assert perennial("pin", "home town") == "'home town' is pinned.\n"
    assert "pinned" in perennial("list")
    assert perennial("pin", "home town", "--off") == "'home town' is no longer pinned.\n"
    assert "pinned" not in perennial("list")


def test_memories_move_to_another_project(root, monkeypatch):
    (root / "sub").mkdir()
    monkeypatch.chdir(root / "sub")  # file names count from where the user is
    assert "3 memories, history included, and 2 passages" in perennial("export", "me.jsonl")
    with pytest.raises(BadInput, match=r"me\.jsonl exists already"):
        perennial("export", str(root / "sub" / "me.jsonl"))
    monkeypatch.chdir(root)
    (root / STORE).unlink()
    assert "New for me: 3 memories" in perennial("import", "sub/me.jsonl")
    assert kept(root)["home town"] == "Leeds"


def test_an_old_list_can_be_imported_and_nothing_can_not_be_exported(root):
    Path("old.txt").write_text("[food: soup]\n[pet: dog]\n")
    perennial("import", "old.txt", "--user", "eve")
    assert kept(root, "eve") == {"food": "soup", "pet": "dog"}
    with pytest.raises(BadInput, match="Nothing is kept of bob"):
        perennial("export", "bob.jsonl", "--user", "bob")


def test_a_sound_store_is_said_to_be_sound(root):
    said = perennial("verify")
    assert "ann: 1 memory, history included, 0 passages intact" in said and said.endswith("is sound.\n")


def test_a_damaged_store_says_what_is_left_and_gives_it_out(root):
    with opened(root / STORE) as connection:
        connection.execute("UPDATE memories SET value = 'Rome' WHERE value = 'Leeds'")
    done = CliRunner().invoke(commands.app, ["memory", "verify"])
    assert "1 of memories can't be read or were changed: 2." in done.output
    assert "me: 2 memories, history included, 2 passages can be exported" in done.output
    with pytest.raises(Corrupt, match=r"is damaged\. Save what is intact"):
        raise done.exception
    with pytest.raises(Corrupt, match="perennial memory verify"):
        perennial("list")
    with pytest.raises(Corrupt, match="1 damaged row"):
        perennial("export", "me.jsonl")
    STORE.rename("damaged.db")
    assert "New for me: 2 memories" in perennial("import", "me.jsonl")


def test_the_commands_are_named_in_the_help(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = perennial("--help")
    assert all(f" {name} " in said for name in ("list", "forget", "export", "import", "verify", "pin"))
    assert "'key: value' in square brackets" in perennial("import", "--help")
