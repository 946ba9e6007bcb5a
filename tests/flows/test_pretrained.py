"""A model's folder that params.yaml names is a dependency, for DVC as for a run."""

import shutil

import pytest

from flows import graph as graphs
from flows import pretrained
from flows.pretrained import show_models
from tasks.errors import BadInput
from tests.flows.conftest import PROJECT, dvc, one_stage, state

GRAPH = """
stages:
  pretrain:
    cmd: python -m tasks pretrain
    deps: [data/sources/pretrain]
    params: [pretrain]
    outs: [out]
"""


@pytest.fixture
def root(project):
    return one_stage(project, GRAPH)


def name_model(root, model):
    text = (PROJECT / "params.yaml").read_text().replace("model: small            # small: a GPT", f"model: {model} #")
    assert f"model: {model} #" in text
    (root / "params.yaml").write_text(text)


def record(root):
    state(root)
    dvc(root, "commit", "--force")


@pytest.mark.parametrize("where", ["given/model", "{tmp}/a%20b/model", "~/model"])
def test_other_weights_in_a_models_folder_make_its_stage_stale(root, tmp_path, monkeypatch, where):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    named = where.replace("{tmp}", str(tmp_path))
    folder = root / named.replace("~", str(tmp_path / "home"))
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"one")
    name_model(root, named)
    record(root)
    assert state(root) == "fresh"
    assert "up to date" in dvc(root, "status")
    (folder / ".DS_Store").write_bytes(b"x")
    assert state(root) == "fresh"
    (folder / "model.safetensors").write_bytes(b"two")
    assert "data/sources/pretrain" in dvc(root, "status")  # DVC sees it alone
    assert state(root) == "stale"
    (folder / "model.safetensors").write_bytes(b"one")
    assert state(root) == "fresh"


def test_other_bytes_in_a_file_that_is_a_model_make_its_stage_stale(root):
    (root / "tiny.gguf").write_bytes(b"one")
    name_model(root, "tiny.gguf")
    record(root)
    assert state(root) == "fresh"
    (root / "tiny.gguf").write_bytes(b"two")
    assert "data/sources/pretrain" in dvc(root, "status")
    assert state(root) == "stale"


def test_a_name_is_shown_as_a_file_and_goes_back_and_forth_with_a_folder(root):
    place = root / "data/sources/pretrain"
    for model, is_link in (("small", False), ("org/model@0123", False), ("given", True), ("small", False)):
        (root / "given").mkdir(exist_ok=True)
        (root / "given/model.safetensors").write_bytes(b"one")
        name_model(root, model)
        assert state(root) == "stale" or model == "small"
        assert place.is_symlink() == is_link
        assert is_link or place.read_text() == f"{model}\n"
    shutil.rmtree(root / "given")
    assert state(root) in ("stale", "missing")


@pytest.mark.parametrize("model", ["small", "given"])
@pytest.mark.parametrize("kind", ["file", "link to nothing", "file above"])
def test_a_file_in_the_place_of_the_sources_is_a_sentence(root, model, kind):
    (root / "given").mkdir()
    name_model(root, model)
    place = root / "data/sources"
    shutil.rmtree(place, ignore_errors=True)
    if kind == "file above":
        shutil.rmtree(root / "data")
        (root / "data").write_text("small\n")
    else:
        place.write_text("small\n") if kind == "file" else place.symlink_to("nowhere/at all")
    with pytest.raises(BadInput, match=r"^data/sources must be a folder\. Move away"):
        show_models(root)


def test_a_folder_that_nobody_may_write_to_is_a_sentence(root, monkeypatch):
    def refuse(path, content):
        raise PermissionError(13, "Permission denied", str(path))

    shutil.rmtree(root / "data/sources", ignore_errors=True)
    monkeypatch.setattr(pretrained, "write_file", refuse)
    with pytest.raises(BadInput, match=r"^data/sources/pretrain can't be written \(Permission denied\)"):
        show_models(root)


def test_the_repositorys_own_files_say_what_its_parameters_say():
    with graphs.opened(PROJECT):
        pass
    assert {path.name: path.read_text() for path in (PROJECT / "data/sources").iterdir()} == {
        "pretrain": "small\n", "encoder": "small\n",
    }  # fmt: skip
