"""What DVC's cache gives back is what was put into it, and dvc.lock is whole at every moment."""

import hashlib
import os
import shutil

import pytest
from dvc.utils.serialize import dumps_yaml, loads_yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flows import cache
from tasks.artifact import verified
from tasks.errors import Corrupt
from tests.flows import test_settings
from tests.flows.conftest import HEADER, all_of, dvc, run


def object_of(root, path):
    """Where DVC's cache keeps a file's bytes."""
    name = hashlib.md5(path.read_bytes()).hexdigest()
    return root / ".dvc/cache/files/md5" / name[:2] / name[2:]


def objects_of(root, folder):
    """Where DVC's cache keeps a folder: its list of files."""
    return [path for path in (root / ".dvc/cache/files/md5").rglob("*.dir") if folder in listed(root, path)]


def listed(root, path):
    """The slices' names in a list of files that DVC keeps."""
    sums = {file: hashlib.md5(file.read_bytes()).hexdigest() for file in root.glob("data/examples/*/manifest.json")}
    return {file.parent.name for file, md5 in sums.items() if md5 in path.read_text()}


def rot(path):
    """Change one byte, as a disk does: size, time and mode stay."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode & 0o777)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("what", ["file", "manifest", "list of files", "all"])
def test_a_rotten_object_is_not_restored_and_the_stage_runs(project, what):
    run(project)
    folder = project / "data/examples/two"
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    objects = {
        "file": [object_of(project, folder / "facts.jsonl")],
        "manifest": [object_of(project, folder / "manifest.json")],
        "list of files": objects_of(project, "two"),
    }
    for path in {each for one in objects.values() for each in one} if what == "all" else objects[what]:
        rot(path)
    for outcome in ("ran", "restored"):  # and the cache is whole again
        shutil.rmtree(folder)
        assert run(project) == all_of("cached") | {"dataset@two": outcome}
        assert {path: path.read_bytes() for path in folder.iterdir()} == whole
    assert "up to date" in dvc(project, "status")


def test_a_rotten_file_of_a_stage_without_a_manifest_is_not_restored(project):
    (project / "dvc.yaml").write_text(test_settings.GRAPH)
    run(project)
    settings = project / "data/settings.json"
    whole = settings.read_bytes()
    rot(object_of(project, settings))
    settings.unlink()
    assert run(project) == test_settings.WRITTEN
    assert settings.read_bytes() == whole


def test_what_a_corrupt_folders_sentence_advises_works(project):
    """`dvc checkout` brings a rotten object into the work tree, and DVC says that all is up to date."""
    run(project)
    folder = project / "data/examples/one"
    rot(object_of(project, folder / "facts.jsonl"))
    shutil.rmtree(folder)
    dvc(project, "checkout")
    assert "up to date" in dvc(project, "status")
    (project / "data/raw/two/facts.csv").write_text(HEADER + "Peru,capital,Quito\n")
    with pytest.raises(Corrupt, match=r"Delete .*data/examples/one and run `perennial run`"):
        run(project)
    shutil.rmtree(folder)
    assert run(project) == all_of("ran") | {"origin": "cached"}
    verified(folder)


def test_a_folder_that_was_edited_and_committed_is_not_restored(project):
    run(project)
    folder = project / "data/examples/two"
    whole = (folder / "facts.jsonl").read_bytes()
    (folder / "facts.jsonl").write_text("")
    dvc(project, "commit", "--force")
    shutil.rmtree(folder)
    assert run(project) == all_of("cached") | {"dataset@two": "ran"}
    assert (folder / "facts.jsonl").read_bytes() == whole


def test_dvc_lock_is_the_old_one_until_it_is_the_new_one(project, monkeypatch):
    run(project)
    whole = (project / "dvc.lock").read_bytes()
    (project / "data/raw/two/facts.csv").write_text(HEADER + "Peru,capital,Quito\n")
    write, seen = cache.write_file, []

    def killed(path, content):
        write(path.with_name("half"), content[: len(content) // 2])
        seen.append((project / "dvc.lock").read_bytes())
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "write_file", killed)
    with pytest.raises(KeyboardInterrupt):
        run(project)
    monkeypatch.undo()
    monkeypatch.chdir(project)
    assert seen == [whole]
    assert (project / "dvc.lock").read_bytes() == whole
    assert run(project) == all_of("cached") | {"dataset@two": "restored"}


def test_a_newer_dvc_lock_is_left_as_it_is(project):
    """By `git pull` or `dvc repro`, after a run of an older version was killed while it wrote the file."""
    run(project)
    older = (project / "dvc.lock").read_bytes()
    (project / "data/raw/two/facts.csv").write_text(HEADER + "Peru,capital,Quito\n")
    dvc(project, "repro")
    newer = (project / "dvc.lock").read_bytes()
    (project / ".perennial/dvc.lock.before").write_bytes(older)
    assert run(project) == all_of("cached")
    assert (project / "dvc.lock").read_bytes() == newer


def test_the_record_is_written_as_dvc_writes_it(project):
    run(project)
    ours = (project / "dvc.lock").read_text()
    (project / "dvc.lock").unlink()
    dvc(project, "repro", "--force")
    assert (project / "dvc.lock").read_text() == ours


NAMES = st.text(st.sampled_from("ab01e.-_@ 가: #'\"{}"), min_size=1, max_size=8).filter(lambda name: name.strip())
VALUES = st.one_of(NAMES, st.integers(), st.floats(allow_nan=False), st.booleans(), st.none(), st.just("1e5"))
ENTRIES = st.fixed_dictionaries(
    {"cmd": st.text("python -m tasks 가", min_size=1, max_size=200).filter(str.strip)},
    optional={
        "deps": st.lists(st.fixed_dictionaries({"path": NAMES, "md5": NAMES, "size": st.integers()}), min_size=1),
        "params": st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES | st.lists(VALUES), min_size=1), min_size=1),
    },
)


LONG = "a long name " * 20


@settings(max_examples=30)
@given(st.lists(st.tuples(NAMES | st.just(LONG), ENTRIES), min_size=1, max_size=8))
@example([(LONG, {"cmd": "a"}), (":0", {"cmd": "a"}), (LONG, {"cmd": "a"})])
def test_one_entry_anew_gives_the_bytes_of_dvcs_own_way(entries):
    text, content = cache.HEAD, dict(cache.NOTHING)
    for name, entry in entries:
        content.setdefault("stages", {})[name] = entry
        text = cache.with_entry(text, dumps_yaml({**cache.NOTHING, "stages": {name: entry}}).removeprefix(cache.HEAD))
        assert text == dumps_yaml(content)


def test_a_dvc_lock_of_another_hand_keeps_what_it_says(project):
    run(project)
    whole = (project / "dvc.lock").read_text()
    stages = loads_yaml(whole)["stages"]
    other = "# a remark\nstages:\n  two lines: {cmd: nothing}\nschema: '2.0'\n"
    (project / "dvc.lock").write_text(other)
    run(project)
    assert (project / "dvc.lock").read_text().startswith("# a remark\n")
    assert loads_yaml((project / "dvc.lock").read_text())["stages"] == {"two lines": {"cmd": "nothing"}, **stages}
