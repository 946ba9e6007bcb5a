"""`perennial learn`: documents go into the store whole, all or none, each user's apart."""

import pytest

from flows.chat import STORE
from flows.learn import learn_files
from tasks.errors import BadInput
from tasks.memory.store import chunks_of, opened
from tests.flows.conftest import perennial

NOTES = "# Travel\n\n" + "It rains in Bergen. " * 35 + "\n\n## Norway\n\nTake a coat.\n"


@pytest.fixture
def notes(tmp_path):
    path = tmp_path / "notes.md"
    path.write_text(NOTES)
    return path


def stored(root, user="me"):
    with opened(root / STORE) as connection:
        return [(chunk.source, chunk.place, chunk.heading, chunk.text) for chunk in chunks_of(connection, user)]


def test_a_documents_chunks_are_stored_in_order_with_their_headings(tmp_path, notes):
    assert learn_files(tmp_path, [notes], "me") == "notes.md: 4 chunks"
    chunks = stored(tmp_path)
    assert [(source, place, heading) for source, place, heading, _ in chunks] == [
        ("notes.md", 1, "Travel"), ("notes.md", 2, "Travel"), ("notes.md", 3, "Travel"),
        ("notes.md", 4, "Travel > Norway"),
    ]  # fmt: skip
    assert chunks[-1][-1] == "Take a coat."


def test_learning_it_again_changes_nothing_and_a_changed_file_replaces_it(tmp_path, notes):
    learn_files(tmp_path, [notes], "me")
    before = stored(tmp_path)
    assert learn_files(tmp_path, [notes], "me") == "notes.md: 4 chunks, as before"
    assert stored(tmp_path) == before
    notes.write_text("Only this.")
    assert learn_files(tmp_path, [notes], "me") == "notes.md: 1 chunk in place of 4"
    assert stored(tmp_path) == [("notes.md", 1, "", "Only this.")]


def test_one_bad_file_and_none_is_stored(tmp_path, notes):
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"\xff\x00")
    with pytest.raises(BadInput, match=r"bad\.txt"):
        learn_files(tmp_path, [notes, bad], "me")
    assert stored(tmp_path) == []


def test_two_files_of_one_name_are_refused(tmp_path, notes):
    other = tmp_path / "other/notes.md"
    other.parent.mkdir()
    other.write_text("Something else.")
    with pytest.raises(BadInput, match=r"2 files are named notes\.md"):
        learn_files(tmp_path, [notes, other], "me")
    assert stored(tmp_path) == []


def test_a_folder_is_read_with_all_its_pages_html_among_them(tmp_path):
    (tmp_path / "pages/sub").mkdir(parents=True)
    (tmp_path / "pages/notes.md").write_text("# Travel\n\nTake a coat.\n")
    page = "<html><title>Site</title><body><h1>Tea</h1><nav>menu</nav><p>It is served at four.</p></body></html>"
    (tmp_path / "pages/sub/notes.html").write_text(page)
    (tmp_path / "pages/picture.png").write_bytes(b"\x89PNG")
    assert learn_files(tmp_path, [tmp_path / "pages"], "me") == "notes.md: 1 chunk\nsub/notes.html: 1 chunk"
    assert stored(tmp_path)[1] == ("sub/notes.html", 1, "Tea", "It is served at four.")
    (tmp_path / "none").mkdir()
    with pytest.raises(BadInput, match=r"none has no pages: no file that ends in \.md"):
        learn_files(tmp_path, [tmp_path / "none"], "me")


def test_one_users_documents_are_nobody_elses(tmp_path, notes):
    learn_files(tmp_path, [notes], "ann")
    assert stored(tmp_path, "ann")
    assert stored(tmp_path) == []
    with pytest.raises(BadInput, match="can't be a user's name"):
        learn_files(tmp_path, [notes], "../ann")


def test_the_command_reads_files_from_where_the_user_stands_and_tells_of_each(project):
    here = project / "data"
    (here / "a.md").write_text(NOTES)
    (here / "b[1].txt").write_text("One line.")
    said = perennial(here, "learn", "a.md", "b[1].txt", "--user", "ann")
    assert said == "a.md: 4 chunks\nb[1].txt: 1 chunk\n"
    assert len(stored(project, "ann")) == 5
    said = perennial(here, "learn", "a.md", "gone.md", code=2)
    assert said.count("\n") == 1
    assert "gone.md" in said
