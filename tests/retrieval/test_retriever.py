import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tasks import artifact
from tasks.errors import BadInput, Corrupt
from tasks.retrieval.calibration import UNCALIBRATED
from tasks.retrieval.encoder import embed, load_encoder
from tasks.retrieval.evaluation import REGRESSION, RETRIEVAL
from tasks.retrieval.search import load_finder
from tasks.retriever import retriever

ROOT = Path(__file__).parents[2]
IN_A_PROCESS = """
import sys
from pathlib import Path
import torch
from tasks.params import Retriever
from tasks.retriever import retriever
torch.set_num_threads(int(sys.argv[5]))
retriever(Retriever.model_validate_json(sys.argv[1]), 3, *map(Path, sys.argv[2:5]), lambda *_: None)
"""
RANKERS = ("sbert", "dpr", "tfidf", "bm25", "hybrid")
CALIBRATION = [
    ("home town", "Lyon", "Which town was I born in?"), ("home town", "Oslo", "Where do I come from, which town?"),
    ("home town", "Graz", "Where was I born again?"), ("today's plan", "a walk", "What are my plans today?"),
    ("today's plan", "the bank", "What shall I do today, am I busy?"), ("today's plan", "golf", "Am I free today?"),
    ("좋아하는 음식", "라면", "무슨 음식 먹을까?"), ("좋아하는 음식", "김치", "저녁 음식 뭐 먹지?"),
    ("좋아하는 음식", "떡", "음식 뭐 골라?"),
]  # fmt: skip
QUESTIONS = [{"question": f"Who leads land{n}?", "statement": f"Person{n} leads land{n}."} for n in range(24)]


def quiet(step, values):
    pass


def metrics_of(folder):
    return artifact.read_json(artifact.verified(folder) / "metrics.json")


@pytest.fixture
def whole(pairs_folder, lines):
    """Pairs with lines on every side, of two slices, and questions."""
    test = [(*line, "2020" if place % 2 else "2021") for place, line in enumerate(lines)]
    return pairs_folder(lines, test, CALIBRATION, QUESTIONS)


def test_it_learns_which_messages_ask_for_which_key(whole, base, settings, lines, tmp_path):
    logged = []
    retriever(settings, 1, whole, base, tmp_path / "out", lambda step, values: logged.append((step, values)))
    metrics = metrics_of(tmp_path / "out")
    assert metrics["top1"] == 1 and metrics["lines"] == len(lines)
    assert len(pd.read_csv(tmp_path / "out/scatter.csv")) == len(lines) ** 2
    steps, values = zip(*logged, strict=True)
    assert list(steps) == sorted(steps) and all(each.keys() == {"loss", "learning_rate"} for each in values)


def test_each_slices_held_out_lines_are_measured_apart(whole, base, settings, tmp_path):
    few = settings.model_copy(update={"steps": 5})
    retriever(few, 1, whole, base, tmp_path / "out", quiet)
    by_slice = metrics_of(tmp_path / "out")["by_slice"]
    assert by_slice.keys() == {"2020", "2021"}
    assert all(set(metrics) == set(RETRIEVAL) and metrics["mrr"] > 0 for metrics in by_slice.values())


def test_two_processes_write_the_same_bytes_and_nothing_to_the_terminal(whole, base, settings, tmp_path):
    hybrid = settings.model_copy(update={"ranker": "hybrid", "steps": 10})
    retriever(hybrid, 3, whole, base, tmp_path / "here", quiet)
    arguments = [hybrid.model_dump_json(), str(whole), str(base), str(tmp_path / "there")]
    ran = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS, *arguments, str(torch.get_num_threads())],
        cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout + ran.stderr == ""
    assert artifact.manifest_sum(tmp_path / "here") == artifact.manifest_sum(tmp_path / "there")


def test_without_lines_of_its_own_the_base_encoder_serves_and_every_metric_is_null(
    pairs_folder, base, settings, tmp_path
):
    retriever(settings, 1, pairs_folder([], []), base, tmp_path / "out", lambda *_: pytest.fail("it was trained"))
    metrics = metrics_of(tmp_path / "out")
    assert metrics["lines"] == 0 and metrics["by_slice"] == {} and metrics["threshold"] == settings.threshold
    assert {metrics[name] for name in REGRESSION + RETRIEVAL} == {None}
    ranking = artifact.read_json(tmp_path / "out/ranking.json")
    assert ranking["memories"]["threshold"] == settings.threshold and ranking["documents"] == UNCALIBRATED
    texts = ["Do I need an umbrella today?", "뭐 먹을까?"]
    assert np.array_equal(
        embed(load_encoder(tmp_path / "out/model"), texts), embed(load_encoder(base / "model"), texts)
    )
    finder = load_finder(tmp_path / "out")
    assert finder.threshold == settings.threshold and finder.document_threshold == UNCALIBRATED["threshold"]


def test_without_held_out_lines_the_model_is_trained_all_the_same(pairs_folder, base, settings, lines, tmp_path):
    retriever(settings, 1, pairs_folder(lines, []), base, tmp_path / "out", quiet)
    assert metrics_of(tmp_path / "out")["top1"] is None
    texts = [line[2] for line in lines]
    assert not np.allclose(
        embed(load_encoder(tmp_path / "out/model"), texts), embed(load_encoder(base / "model"), texts)
    )


def test_a_single_line_is_enough_to_train_on(pairs_folder, base, settings, lines, tmp_path):
    retriever(settings, 1, pairs_folder(lines[:1], lines[:1]), base, tmp_path / "out", quiet)
    assert metrics_of(tmp_path / "out")["top1"] == 1


@pytest.mark.parametrize("ranker", ["hybrid", "dpr"])
@pytest.mark.parametrize("shape", ["nothing", "one line", "one key", "only held out", "only calibration"])
def test_whatever_lines_there_are_there_is_a_retriever(pairs_folder, base, settings, lines, tmp_path, ranker, shape):
    shapes = {
        "nothing": ([], []), "one line": (lines[:1], []), "one key": (lines[:4], lines[:2]),
        "only held out": ([], lines), "only calibration": ([], [], CALIBRATION),
    }  # fmt: skip
    few = settings.model_copy(update={"ranker": ranker, "steps": 2})
    retriever(few, 1, pairs_folder(*shapes[shape]), base, tmp_path / "out", quiet)
    finder = load_finder(tmp_path / "out")
    assert len(finder.find("Where was I born?", ["[home town: Cork]"])) <= 1
    assert list(pd.read_csv(tmp_path / "out/scatter.csv").columns) == ["predicted", "true"]


@pytest.mark.parametrize("ranker", RANKERS)
def test_every_ranker_is_trained_calibrated_saved_and_scores_the_same_when_loaded(
    whole, base, settings, lines, tmp_path, monkeypatch, ranker
):
    made = {}

    def noted(parts, ranking, *rest):
        made.update(parts=parts, ranking=ranking)
        return real(parts, ranking, *rest)

    from tasks.retrieval import evaluation
    from tasks.retrieval.search import chosen

    real = evaluation.evaluate_retriever
    monkeypatch.setattr(evaluation, "evaluate_retriever", noted)
    quick = settings.model_copy(update={"ranker": ranker, "steps": 10})
    retriever(quick, 1, whole, base, tmp_path / "out", quiet)

    finder, ranking = load_finder(tmp_path / "out"), artifact.read_json(tmp_path / "out/ranking.json")
    assert ranking["memories"]["ranker"] == ranker and ranking["documents"]["ranker"] == "hybrid"
    assert ranking["memories"]["lines"] >= len(CALIBRATION) and bool(ranking["memories"]["mix"]) == (ranker == "hybrid")
    assert finder.threshold == ranking["memories"]["threshold"]
    assert finder.document_threshold == ranking["documents"]["threshold"]
    assert finder.likely == ranking["documents"]["likely"] <= finder.document_threshold
    memories = [f"[{key}: {value}]" for key, value, _ in lines]
    before = chosen(ranker, made["ranking"]["mix"], made["parts"])
    for message in (lines[0][2], lines[-1][2], "Do I need a coat?", "", "漢字"):
        assert finder.memories.scores(message, memories) == pytest.approx(before.scores(message, memories), abs=1e-7)
    (found,) = finder.find_chunks("Who leads land7?", [row["statement"] for row in QUESTIONS], 1)
    assert found.place == 7 and found.score >= finder.document_threshold


def test_dpr_alone_has_two_towers(whole, base, settings, tmp_path):
    apart = {}
    for ranker in ("dpr", "sbert"):
        few = settings.model_copy(update={"ranker": ranker, "steps": 5})
        retriever(few, 1, whole, base, tmp_path / ranker, quiet)
        dense = load_finder(tmp_path / ranker).encoder
        apart[ranker] = not np.array_equal(dense.vectors(["home town"])[0], dense.message_vector("home town"))
    assert apart == {"dpr": True, "sbert": False}


@pytest.mark.parametrize("name", ["model/model.safetensors", "ranking.json", "frequencies.safetensors"])
def test_a_retriever_whose_bytes_changed_is_not_used(pairs_folder, base, settings, tmp_path, name):
    retriever(settings, 1, pairs_folder([], []), base, tmp_path / "out", quiet)
    assert load_finder(tmp_path / "out")
    content = bytearray((tmp_path / "out" / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / "out" / name).write_bytes(content)
    with pytest.raises(Corrupt, match=f"{name} was changed"):
        load_finder(tmp_path / "out")


def test_a_retriever_that_lost_a_file_is_not_taken_for_none(pairs_folder, base, settings, tmp_path):
    retriever(settings, 1, pairs_folder([], []), base, tmp_path / "out", quiet)
    (tmp_path / "out/ranking.json").unlink()
    with pytest.raises(Corrupt, match=r"ranking\.json is missing"):
        load_finder(tmp_path / "out")


def test_pairs_or_an_encoder_that_changed_are_not_trained_on(whole, base, settings, tmp_path):
    with pytest.raises(BadInput, match="nowhere is missing"):
        retriever(settings, 1, whole, tmp_path / "nowhere", tmp_path / "out", quiet)
    (whole / "lines.json").write_text("{}")
    with pytest.raises(Corrupt, match=r"lines\.json was changed"):
        retriever(settings, 1, whole, base, tmp_path / "out", quiet)
    assert not (tmp_path / "out").exists()
