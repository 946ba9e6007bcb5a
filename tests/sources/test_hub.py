"""Where a model comes from: a sentence fits each way in which it can't be had, and none takes long."""

import shutil
import time
from pathlib import Path

import pytest

from tasks.errors import BadInput, reason_of
from tasks.lm.causal import build, load, save
from tasks.retrieval.encoder import load_encoder
from tasks.sources.hub import folder_of
from tests.lm.conftest import ROWS, SETTINGS


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "models/mine"
    folder.mkdir(parents=True)
    save(*build(SETTINGS, [row["prompt"] for row in ROWS], seed=1), folder)
    return folder


def test_a_folder_is_found_by_its_path_below_home_and_with_blanks_behind(model, monkeypatch):
    monkeypatch.setenv("HOME", str(model.parents[1]))
    monkeypatch.chdir(model.parent)
    for source in (model, str(model), f"{model}  ", "~/models/mine", "~/models/mine/", "mine", "./mine", "mine \n"):
        assert folder_of(source, "pretrain.model").resolve() == model
    assert load("~/models/mine ")[0].num_parameters() > 0


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("./nowhere", "there is no folder './nowhere'"),
        ("~/nowhere", "there is no folder '~/nowhere'"),
        ("/nowhere/at/all", "there is no folder '/nowhere/at/all'"),
        ("some folder", "there is no folder 'some folder'"),
        ("a/b/c", "there is no folder 'a/b/c'"),
        ("-", "'-' is no folder, and no model on the hub is called so"),
        ("é/é", "'é/é' is no folder, and no model on the hub is called so"),
        ("file", "'file' is a file. Name the folder"),
        ("empty", "'empty' holds no model: there is no .safetensors file in it"),
        (
            "pickled",
            "'pickled' holds its weights as pytorch_model.bin, which may carry code. Of .bin files `perennial",
        ),
    ],
)
@pytest.mark.parametrize(("loads", "setting"), [(load, "pretrain.model"), (load_encoder, "encoder.model")])
def test_what_is_no_model_is_told_as_what_it_is(tmp_path, monkeypatch, source, expected, loads, setting):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled/pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(BadInput) as refused:
        loads(source)
    assert str(refused.value).startswith(f"{setting}: {expected}")


@pytest.mark.parametrize(("loads", "setting"), [(load, "pretrain.model"), (load_encoder, "encoder.model")])
@pytest.mark.parametrize("name", ["HuggingFaceTB/SmolLM2-135M", "gpt2", "org/model@0123abc"])
def test_a_hub_name_without_a_network_is_one_sentence_with_the_command_that_helps(monkeypatch, loads, setting, name):
    from huggingface_hub import HfApi, constants

    def never_answers(*_, **__):
        time.sleep(30)

    monkeypatch.setattr("tasks.sources.hub.WAIT", 0.05)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "model_info", never_answers)
    with pytest.raises(BadInput) as refused:
        loads(name)
    plain = name.partition("@")[0]
    assert str(refused.value) == (
        f"{setting}: '{plain}' is no folder, and the Hugging Face hub can't be asked for it (it does not answer). "
        f"Where there is a network run `hf download {plain} --local-dir {plain.rpartition('/')[2]}`, and name that "
        "folder in params.yaml."
    )


def test_a_model_that_was_to_be_fetched_is_told_with_the_command_that_fetches_it():
    with pytest.raises(BadInput, match=r"there is no folder '~.*tiny-x'\. `perennial fetch-model tiny-x` brings it\."):
        folder_of("~/.cache/perennial/models/tiny-x", "pretrain.model")


def test_a_hub_name_is_loaded_from_the_cache_at_the_commit_that_pins_it(model, tmp_path, monkeypatch):
    from huggingface_hub import constants

    one, two = "1" * 40, "2" * 40
    repo = tmp_path / "hub/models--org--mine"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs/main").write_text(two)
    for commit in (one, two):
        shutil.copytree(model, repo / "snapshots" / commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert folder_of(f"org/mine@{one}", "pretrain.model").name == one
    assert folder_of("org/mine", "pretrain.model").name == two


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("why it failed.\nIf you meant this, do that.", "why it failed"),
        ("The following failures occurred from /here:\n##### File a #####\n[Errno 28] full\nmore", 
         "The following failures occurred from /here: File a [Errno 28] full"),
        ("(sqlite3.OperationalError) locked\n[SQL: SELECT 1]", "(sqlite3.OperationalError) locked"),
        ("\n\n  Failed:\n\n   because  of\tthis.", "Failed: because of this"),
        ("only an announcement:", "only an announcement"),
        ("", "OSError"),
    ],
)  # fmt: skip
def test_of_a_librarys_error_the_line_that_says_why_is_kept(text, expected):
    assert reason_of(OSError(text) if text else OSError()) == expected


def test_no_file_cuts_an_error_by_itself():
    room = Path(__file__).parents[1]
    cutting = ('split("\\n")[0]', "splitlines()[0]")
    files = [path for name in ("tasks", "flows") for path in (room / name).rglob("*.py")]
    assert not [path for path in files if any(cut in path.read_text(encoding="utf-8") for cut in cutting)]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "pretrain.model is empty"),
        ("  ", "pretrain.model is empty"),
        ("~nobody-of-this-name/model", "can't be a folder"),
        ("x" * 300, "can't be a folder"),
    ],
)
def test_what_can_be_no_folder_gets_a_sentence(source, reason):
    with pytest.raises(BadInput, match=reason):
        folder_of(source, "pretrain.model")


def test_weights_that_lie_deep_in_a_folder_are_another_models(tmp_path):
    """A project's own folder holds models, and is none."""
    (tmp_path / "models/2024/lm").mkdir(parents=True)
    (tmp_path / "models/2024/lm/model.safetensors").write_bytes(b"")
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(BadInput, match=r"holds no model"):
        folder_of(tmp_path, "pretrain.model")
    (tmp_path / "0_Transformer").mkdir()
    (tmp_path / "0_Transformer/model.safetensors").write_bytes(b"")
    assert folder_of(tmp_path, "pretrain.model") == tmp_path
