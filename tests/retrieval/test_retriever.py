import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from tasks import artifact
from tasks.errors import Corrupt
from tasks.params import load_params
from tasks.retrieval.encoder import build_encoder, save_encoder
from tasks.retrieval.search import encoder_in
from tasks.retriever import retriever

ROOT = Path(__file__).parents[2]
IN_A_PROCESS = """
import sys
from pathlib import Path
import torch
from tasks.params import Retriever
from tasks.retriever import retriever
torch.set_num_threads(int(sys.argv[4]))
retriever(Retriever.model_validate_json(sys.argv[1]), 3, Path(sys.argv[2]), Path(sys.argv[3]), lambda *_: None)
"""


def test_it_learns_which_messages_ask_for_which_key(pairs_folder, settings, lines, tmp_path):
    logged = []
    retriever(
        settings, 1, pairs_folder(lines, lines), tmp_path / "out", lambda step, values: logged.append((step, values))
    )

    metrics = artifact.read_json(artifact.verified(tmp_path / "out") / "metrics.json")
    assert metrics["top1"] == 1 and metrics["f1"] > 0.9 and metrics["false_retrieval_rate"] < 0.1
    assert metrics["lines"] == len(lines)
    assert len(pd.read_csv(tmp_path / "out" / "scatter.csv")) == len(lines) ** 2
    steps, values = zip(*logged, strict=True)
    assert list(steps) == sorted(steps) and values[-1]["loss"] < values[0]["loss"] and "learning_rate" in values[0]


def test_it_trains_on_the_memory_of_one_line_and_the_message_of_the_other(pairs_folder, settings, lines, tmp_path):
    pairs = pairs_folder(lines, lines)
    train = pd.read_csv(pairs / "train.csv")
    with artifact.writing(pairs) as folder:  # what must not be read is made useless
        train.assign(memory_1="x", user_prompt_0="y").to_csv(folder / "train.csv", index=False)
        train.to_csv(folder / "test.csv", index=False)
        artifact.write_json(folder / "lines.json", {"test": lines, "synonyms": []})
    retriever(settings, 1, pairs, tmp_path / "out", lambda *_: None)
    assert artifact.read_json(tmp_path / "out" / "metrics.json")["top1"] == 1


def test_two_processes_write_the_same_bytes_and_nothing_to_the_terminal(pairs_folder, settings, lines, tmp_path):
    pairs = pairs_folder(lines[::2], lines[1::2])
    retriever(settings, 3, pairs, tmp_path / "here", lambda *_: None)
    arguments = [settings.model_dump_json(), str(pairs), str(tmp_path / "there"), str(torch.get_num_threads())]
    ran = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS, *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout + ran.stderr == ""
    assert artifact.manifest_sum(tmp_path / "here") == artifact.manifest_sum(tmp_path / "there")


def test_without_lines_to_train_on_there_is_no_model_and_every_metric_is_null(pairs_folder, settings, tmp_path):
    retriever(settings, 1, pairs_folder([], []), tmp_path / "out", lambda *_: None)
    metrics = artifact.read_json(tmp_path / "out" / "metrics.json")
    assert metrics.pop("lines") == 0 and metrics.pop("threshold") == 0.6
    assert set(metrics.values()) == {None} and not (tmp_path / "out" / "model").exists()


def test_without_held_out_lines_the_model_is_trained_all_the_same(pairs_folder, settings, lines, tmp_path):
    retriever(settings, 1, pairs_folder(lines, []), tmp_path / "out", lambda *_: None)
    assert artifact.read_json(tmp_path / "out" / "metrics.json")["top1"] is None
    assert (tmp_path / "out" / "model" / "modules.json").exists()


def test_any_local_sentence_transformers_folder_can_be_trained_on(pairs_folder, settings, lines, tmp_path):
    save_encoder(build_encoder(settings, [text for line in lines for text in line], seed=9), tmp_path / "own")
    own = settings.model_copy(update={"model": str(tmp_path / "own")})
    retriever(own, 1, pairs_folder(lines, lines), tmp_path / "out", lambda *_: None)
    assert artifact.read_json(tmp_path / "out" / "metrics.json")["top1"] == 1


def test_the_default_parameters_name_the_small_encoder():
    assert load_params(ROOT / "params.yaml").retriever.model == "small"


def test_a_model_whose_bytes_changed_is_not_used(pairs_folder, settings, lines, tmp_path):
    retriever(settings, 1, pairs_folder(lines, lines), tmp_path / "out", lambda *_: None)
    weights = encoder_in(tmp_path / "out") / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(Corrupt, match="model.safetensors was changed"):
        encoder_in(tmp_path / "out")
