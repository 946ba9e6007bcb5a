import pytest

from tasks import artifact
from tasks.errors import BadInput, Corrupt


@pytest.fixture
def folder(tmp_path):
    with artifact.writing(tmp_path / "out") as made:
        (made / "a.txt").write_text("alpha")
        (made / "sub").mkdir()
        (made / "sub" / "b.txt").write_text("beta")
    return tmp_path / "out"


def test_what_was_written_is_found_whole(folder):
    assert artifact.verified(folder) == folder


def test_a_failed_step_leaves_nothing_and_keeps_what_was_there(folder):
    with pytest.raises(RuntimeError), artifact.writing(folder) as made:
        (made / "a.txt").write_text("half")
        raise RuntimeError
    assert artifact.verified(folder) == folder
    assert (folder / "a.txt").read_text() == "alpha"
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["a.txt", "sub/b.txt"])
def test_one_flipped_bit_is_noticed(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[0] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(Corrupt, match=f"{name} was changed"):
        artifact.verified(folder)


def test_missing_and_foreign_files_are_noticed(folder):
    (folder / "a.txt").unlink()
    with pytest.raises(Corrupt, match="a.txt is missing"):
        artifact.verified(folder)
    (folder / "a.txt").write_text("alpha")
    (folder / "c.txt").write_text("gamma")
    with pytest.raises(Corrupt, match="c.txt is not part of it"):
        artifact.verified(folder)


def test_a_folder_without_a_manifest_is_not_there_yet(tmp_path):
    with pytest.raises(BadInput, match="perennial run"):
        artifact.verified(tmp_path)
    with pytest.raises(BadInput, match="perennial run"):
        artifact.verified_file(tmp_path, "a.txt")


def test_one_file_is_checked_without_the_others(folder):
    (folder / "sub" / "b.txt").unlink()
    assert artifact.verified_file(folder, "a.txt") == folder / "a.txt"
    with pytest.raises(Corrupt, match=r"b.txt is missing"):
        artifact.verified_file(folder, "sub/b.txt")
    (folder / "a.txt").write_text("beta")
    with pytest.raises(Corrupt, match=r"a.txt was changed"):
        artifact.verified_file(folder, "a.txt")


def test_a_file_is_old_or_new(tmp_path):
    artifact.write_file(tmp_path / "f", b"one")
    artifact.write_file(tmp_path / "f", b"two")
    assert (tmp_path / "f").read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
