"""The rankers on memory lines: the default ones of data/raw, and a user's own forty."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from benchmarks.ranking import COLUMNS, Likeness, Pairs, Questions, Table, cell, compared, contenders
from benchmarks.retrievers import (
    Project,
    chained,
    encoder_folder,
    examples_folder,
    own_ranker,
    pairs_folder,
    pairs_of,
    retriever_folder,
    retriever_of,
    without_augmentation,
    without_hard_negatives,
    without_topics,
)
from tasks import artifact
from tasks.corpus.cartesian import cartesian_pairs, key_similarity, memory_text
from tasks.corpus.topics import TopicLine, key_groups
from tasks.params import Pairs as PairSettings
from tasks.retrieval.calibration import CANDIDATES, HYBRID, Query, line_queries
from tasks.retrieval.encoder import load_encoder
from tasks.retrieval.evaluation import REGRESSION, RETRIEVAL
from tasks.retrieval.search import FREQUENCIES, IDF, MODEL
from tasks.scoring.matrix import average_accuracy, forgetting

KOREAN = re.compile("[가-힣]")
FEW = 40  # lines of a user's own
ABLATION = ("top1", "f1", "false_retrieval_rate")

Lines = Sequence[Sequence[str]]  # key, value, message, slice


def tables(project: Project) -> Iterator[tuple[str, Table]]:
    """Each table as soon as it is measured."""
    yield "lines", default_lines(project)
    yield "similarity", similarities(project)
    yield "ablation", ablation(project)
    yield "slices", slices(project)
    yield "few", few_lines(project)


def default_lines(project: Project) -> Table:
    """Every ranker on the test lines of all slices."""
    last = project.slices[-1]
    return _lines(project, pairs_folder(project, last), retriever_folder(project, last), dpr_folder(project))


def dpr_folder(project: Project) -> Path:
    """The last slice's retriever with two towers."""
    pairs = pairs_folder(project, project.slices[-1])
    return retriever_of(project, pairs, encoder_folder(project), project.work / "dpr", "dpr")


def similarities(project: Project) -> Table:
    """The last slice's retriever, trained to predict the one similarity of keys and the other."""
    last, rows = project.slices[-1], {}
    for kind in ("graded", "key_words"):
        if kind == project.params.pairs.similarity:
            folder = retriever_folder(project, last)
        else:
            work = project.work / "similarity"
            pairs = pairs_of(project, examples_folder(project) / last, work / "pairs", similarity=kind)
            folder = retriever_of(project, pairs, encoder_folder(project), work / "retriever")
        rows[kind] = _metrics(folder)
    note = f"Ranker: {own_ranker(project)}. Errors and correlations: cosines with the row's own similarity."
    return Table((*REGRESSION, *RETRIEVAL), rows, note)


def ablation(project: Project) -> Table:
    """The last slice's retriever, and what it is without one thing."""
    folders = {
        "as it is": retriever_folder(project, project.slices[-1]),
        "without hard negatives": without_hard_negatives(project),
        "without augmentation": without_augmentation(project),
        "without topics": without_topics(project),
    }
    rows = {name: _metrics(folder) for name, folder in folders.items()}
    return Table(ABLATION, rows, f"{rows['as it is']['lines']} test lines; ranker: {own_ranker(project)}.")


def slices(project: Project) -> Table:
    """The accuracy matrix: how often the retriever after each slice ranks a right memory first, slice by slice."""
    names = project.slices
    found = [_metrics(retriever_folder(project, name))["by_slice"] for name in names]
    matrix = [[row[name]["top1"] if name in row else None for name in names[: at + 1]] for at, row in enumerate(found)]
    rows = {name: dict(zip(names, row, strict=False)) for name, row in zip(names, matrix, strict=True)}
    mean, fallen = (cell("top1", value) for value in (average_accuracy(matrix), forgetting(matrix)))
    note = f"Ranker: {own_ranker(project)}. Average after the last slice {mean}, forgetting {fallen}."
    return Table(names, rows, note)


def few_lines(project: Project) -> Table:
    """Every ranker where a user's only lines are forty of the Korean training lines."""
    last, work = project.slices[-1], project.work / "few"
    sides = artifact.read_json(pairs_folder(project, last) / "lines.json")
    korean = {side: [line for line in sides[side] if KOREAN.search(line[0])] for side in ("train", "test")}
    own = Random(project.params.seed).sample(korean["train"], min(FEW, len(korean["train"])))
    raw = work / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    # the split hangs on the text alone: what was held out of all lines is held out of these
    text = "".join(f"{memory_text(line)} {line[2]}\n" for line in sorted([*own, *korean["test"]]))
    (raw / "memories.txt").write_text(text, encoding="utf-8")
    chained(project, work / "examples", {"few": raw})
    pairs, before = pairs_of(project, work / "examples/few", work / "pairs"), encoder_folder(project)
    folders = [retriever_of(project, pairs, before, work / ranker, ranker) for ranker in ("sbert", "dpr")]
    return _lines(project, pairs, *folders)


def _metrics(retriever: Path) -> dict[str, Any]:
    return artifact.read_json(artifact.verified(retriever) / "metrics.json")


def _lines(project: Project, pairs: Path, sbert: Path, dpr: Path) -> Table:
    seed, settings = project.params.seed, project.params.retriever
    sides = artifact.read_json(pairs / "lines.json")
    own, held_out = _calibration_lines(sides, encoder_folder(project))
    test = questions(sides["test"], sides["synonyms"])
    likeness = Likeness(_cartesian(own or held_out, project.params.pairs, seed), _read(pairs / "test.csv"))
    encoders = (load_encoder(each / MODEL) for each in (sbert, dpr))
    made = contenders(encoders, load_file(sbert / FREQUENCIES)[IDF], HYBRID)
    rows = compared(made, settings, to_calibrate(own, held_out, seed), test, likeness)
    note = (
        f"{len(test.messages)} test lines after {len(sides['train'])} training lines; calibrated on {len(own)} lines "
        f"and {len(held_out)} of topics; {len(likeness.to_test.true):,} pairs."
    )
    return Table(COLUMNS, rows, note)


def _calibration_lines(sides: dict[str, Lines], encoder: Path) -> tuple[list[TopicLine], list[TopicLine]]:
    """The slices' lines and the topics', grouped as the step `retriever` does."""
    topics, held_out = (
        [TopicLine(**row) for row in artifact.read_rows(encoder / f"{name}.jsonl")] for name in ("train", "held_out")
    )
    groups = key_groups([*topics, *held_out], sides["synonyms"])
    own = [TopicLine(key, value, message, groups(key)) for key, value, message, _ in sides["calibration"]]
    return own, [line._replace(group=groups(line.key)) for line in held_out]


def to_calibrate(own: Sequence[TopicLine], held_out: Sequence[TopicLine], seed: int) -> list[Query]:
    """What the step `retriever` calibrates memories on."""
    return [*line_queries(own, len(own), seed), *line_queries(held_out, CANDIDATES, seed)]


def questions(lines: Lines, synonyms: Sequence[Sequence[str]]) -> Questions:
    """The messages of lines among their memories, as the step `retriever` scores itself."""
    fits = np.array([[key_similarity(one[0], other[0], synonyms) == 1.0 for other in lines] for one in lines])
    return Questions([line[2] for line in lines], [memory_text(line) for line in lines], fits)


def _cartesian(lines: Sequence[TopicLine], settings: PairSettings, seed: int) -> Pairs:
    whole = [(line.key, line.value, line.message) for line in lines]
    rows = list(cartesian_pairs(whole, settings.synonyms, settings.max_rows, seed, settings.similarity))
    return Pairs([row[3] for row in rows], [row[0] for row in rows], np.array([row[4] for row in rows]))


def _read(path: Path) -> Pairs:
    rows = pd.read_csv(path, keep_default_na=False)
    true = rows["similarity_score"].to_numpy(dtype=np.float64)
    return Pairs(rows["user_prompt_1"].tolist(), rows["memory_0"].tolist(), true)
