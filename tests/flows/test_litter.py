"""What editors and desktops leave about is no part of a slice, of the code, or of what a step built."""

import re
import shutil

import pytest

from flows import graph as graphs
from flows.add import add_slice
from tasks.artifact import verified
from tasks.corpus.raw import FILES, RELATIONS
from tasks.corpus.topics import read_topics
from tasks.errors import BadInput
from tasks.litter import is_litter
from tests.flows.conftest import HEADER, PROJECT, all_of, dvc, run, states

TOPICS = "topics:\n- {keys: [a], values: [b], messages: [c]}\n"


FILES_LEFT = (
    *(".DS_Store", "._facts.csv", ".facts.csv.swp", "facts.csv~", "#facts.csv#", "facts.csv.bak", "Icon\r"),
    *(".~lock.facts.csv#", "~$facts.csv", "Thumbs.db", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db"),
    *("desktop.ini", "Desktop.ini", "DESKTOP.INI", "facts.csv:Zone.Identifier"),
)
FOLDERS_LEFT = (".ipynb_checkpoints", "__MACOSX", "$RECYCLE.BIN", "$Recycle.Bin")


def litter(folder, *, links=True):
    """A file of every kind that is left in a folder by those who only look at it."""
    for name in FILES_LEFT:
        (folder / name).write_bytes(b"\0\1\2")
    for name in FOLDERS_LEFT:
        (folder / name).mkdir()
        (folder / name / "facts-checkpoint.csv").write_text("x")
    if links:
        (folder / ".#facts.csv").symlink_to("somebody@somewhere.1234:5678")  # Emacs: a link to nothing


def test_litter_in_a_slices_folder_makes_nothing_stale_and_is_not_read(project):
    run(project)
    litter(project / "data/raw/one")
    (project / "data/raw/one/drafts").mkdir()
    (project / "data/raw/one/drafts/facts.csv").write_text("no header")
    (project / "data/raw/one/notes.md").write_text("to do")
    (project / "data/raw/one/twin").symlink_to(project / "data/raw/two", target_is_directory=True)
    assert states(project) == dict.fromkeys(states(project), "fresh")
    assert run(project) == all_of("cached")
    assert "up to date" in dvc(project, "status")
    built = (project / "data/examples/one/manifest.json").read_bytes()
    shutil.rmtree(project / "data/examples")
    shutil.rmtree(project / ".dvc/cache")
    (project / "dvc.lock").unlink()
    assert run(project) == all_of("ran")
    assert (project / "data/examples/one/manifest.json").read_bytes() == built


def test_what_the_formats_name_still_counts(project):
    run(project)
    (project / "data/raw/two/memories.txt").write_text("[job: baker] Where do I work?\n")
    assert states(project)["dataset@two"] == "stale"
    assert run(project) == all_of("cached") | {"dataset@two": "ran"}
    for name in FILES:
        (project / "data/raw/two" / name).unlink(missing_ok=True)
        (project / "data/raw/two" / name).write_text("")
        with graphs.opened(project) as graph:
            assert not graph.repo.dvcignore.is_ignored_file(str(project / "data/raw/two" / name))
    with graphs.opened(project) as graph:
        ignored = graph.repo.dvcignore.is_ignored_file
        assert not ignored(str(project / "data/raw/two" / RELATIONS))
        assert not ignored(str(project / "data/raw" / RELATIONS))
        assert not ignored(str(project / "data/raw/topics/en.yaml"))
        assert ignored(str(project / "data/raw/topics/._en.yaml"))
        assert ignored(str(project / "data/raw/topics/notes.md"))


def test_a_slice_that_dvc_tracks_stays_fresh_among_litter(project):
    litter(project / "data/raw/two")
    dvc(project, "add", "data/raw/two")
    assert run(project) == all_of("ran") | {"data/raw/two.dvc": "cached"}
    (project / "data/raw/two/.facts.csv.swo").write_text("more")
    assert run(project) == all_of("cached") | {"data/raw/two.dvc": "cached"}
    assert "up to date" in dvc(project, "status")
    shutil.rmtree(project / "data/raw/two")
    dvc(project, "checkout")
    assert [path.name for path in (project / "data/raw/two").iterdir()] == ["facts.csv"]


def test_a_slice_whose_files_are_links_is_read(project, tmp_path):
    kept = tmp_path / "elsewhere"
    shutil.move(project / "data/raw/one", kept)
    (project / "data/raw/one").symlink_to(kept, target_is_directory=True)
    (kept / "facts.csv").rename(tmp_path / "the_facts")
    (kept / "facts.csv").symlink_to(tmp_path / "the_facts")
    assert run(project) == all_of("ran")
    (tmp_path / "the_facts").write_text(HEADER + "Peru,capital,Quito\n")
    assert states(project)["dataset@one"] == "stale"


def test_litter_among_code_and_outputs_makes_nothing_stale(project):
    run(project)
    for folder in ("tasks", "data/examples/one", "data/examples/two"):
        litter(project / folder, links=folder == "tasks")
    (project / "tasks/.#dataset.py").symlink_to("somebody@somewhere.1234:5678")
    verified(project / "data/examples/one")
    assert run(project) == all_of("cached")


def test_add_takes_what_it_knows_and_leaves_litter_behind(project, tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "facts.csv").write_text(HEADER + "Mali,capital,Bamako\n")
    litter(folder)
    add_slice(project, "three", folder)
    assert [path.name for path in (project / "data/raw/three").iterdir()] == ["facts.csv"]


def test_dvc_passes_over_what_we_do_and_over_nothing_else():
    with graphs.opened(PROJECT) as graph:
        for folder in ("tasks", "data/raw/2020", "data/raw/topics", "data/raw/general", "models/2020/lm"):
            for name in (*FILES_LEFT, "~$en.yaml", "~$en.txt"):
                assert is_litter(name) and graph.repo.dvcignore.is_ignored_file(str(PROJECT / folder / name)), name
            for name in FOLDERS_LEFT:
                assert is_litter(name) and graph.repo.dvcignore.is_ignored_dir(str(PROJECT / folder / name)), name
        for name in ("Icons", "Icon", "icon.png", "desktop.ini.py", "thumbs.py", "recycle.bin", "model$.json"):
            assert not is_litter(name) and not graph.repo.dvcignore.is_ignored_file(str(PROJECT / "tasks" / name)), name


@pytest.mark.parametrize("name", ["facts2.csv", "Facts.csv", "fact.csv", "notes.md", "facts (1).csv", "Icon"])
def test_add_names_a_file_that_may_be_meant_for_another(project, tmp_path, name):
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "memories.txt").write_text("[job: baker] Where do I work?\n")
    (folder / name).write_text("x")
    with pytest.raises(BadInput, match=rf"{re.escape(name)}: unknown file"):
        add_slice(project, "three", folder)
    assert not (project / "data/raw/three").exists()


@pytest.mark.parametrize("kind", ["folder", "link to nothing"])
def test_what_bears_a_files_name_and_is_none_is_named(project, tmp_path, kind):
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "memories.txt").write_text("[job: baker] Where do I work?\n")
    (folder / "facts.csv").mkdir() if kind == "folder" else (folder / "facts.csv").symlink_to("nowhere")
    with pytest.raises(BadInput, match=r"facts\.csv: is no file"):
        add_slice(project, "three", folder)


def test_the_topics_are_the_files_that_are_meant(tmp_path):
    litter(tmp_path)
    (tmp_path / "._en.yaml").write_bytes(b"\0\xff")
    (tmp_path / "old.yaml").mkdir()
    (tmp_path / "en.yaml").write_text(TOPICS)
    assert len(read_topics(tmp_path)) == 1


def test_the_projects_own_slices_are_all_seen_by_dvc():
    with graphs.opened(PROJECT) as graph:
        ignored = graph.repo.dvcignore.is_ignored_file
        files = [path for path in (PROJECT / "data/raw").rglob("*") if path.is_file()]
        assert not [path for path in files if ignored(str(path))]
