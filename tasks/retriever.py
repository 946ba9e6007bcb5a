"""The retriever: an S-BERT that finds the memory for a message, or nothing, trained on all slices' lines so far."""

import shutil
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pandas as pd

from tasks import artifact
from tasks.corpus.topics import TopicLine, key_groups, varied
from tasks.params import Retriever
from tasks.steps import Log

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

SCATTER_ROWS = 2000
VARIATIONS = 3  # of each of the slices' messages, for a head


def retriever(settings: Retriever, seed: int, pairs: Path, encoder: Path, out: Path, log: Log) -> None:
    """Train the encoder on, calibrate the ranker on lines held out for it, and score both on the test lines."""
    from safetensors.numpy import load_file

    from tasks.retrieval.calibration import calibrated
    from tasks.retrieval.encoder import load_encoder, save_encoder, two_towers
    from tasks.retrieval.evaluation import evaluate_retriever
    from tasks.retrieval.head import save_head
    from tasks.retrieval.head_training import STATES, known_states, load_states, trained_head
    from tasks.retrieval.pretrained import retriever_for
    from tasks.retrieval.search import FREQUENCIES, IDF, MODEL, RANKING, dense_rankers, rankers

    artifact.verified(pairs)
    train, test = (pd.read_csv(pairs / f"{split}.csv", keep_default_na=False) for split in ("train", "test"))
    lines = artifact.read_json(pairs / "lines.json")
    questions = artifact.read_rows(pairs / "questions.jsonl")
    topics, held_out = (
        [TopicLine(**row) for row in artifact.read_rows(artifact.verified(encoder) / f"{name}.jsonl")]
        for name in ("train", "held_out")
    )
    model = load_encoder(encoder / MODEL)
    settings = retriever_for(settings, encoder)
    if settings.ranker == "dpr":
        model = two_towers(model)
    groups = key_groups([*topics, *held_out], lines["synonyms"])
    topics, held_out = ([line._replace(group=groups(line.key)) for line in each] for each in (topics, held_out))
    own = [TopicLine(key, value, message, groups(key)) for key, value, message, _ in lines["train"]]
    variants = artifact.read_json(encoder / "variants.json")
    with artifact.writing(out) as folder:
        head = None
        if (encoder / STATES).exists():
            own = [*own, *_in_other_words(own * VARIATIONS, variants, Random(seed))]
            states = load_states(model, topics, encoder) | known_states(model, own)
            head = trained_head(model, settings, seed, log, (own, topics), states)
            save_head(head, folder)
        elif len(train):
            _train(model, settings, seed, log, own, topics, train, variants)
        save_encoder(model, folder / MODEL)
        shutil.copy(encoder / FREQUENCIES, folder / FREQUENCIES)
        idf = load_file(folder / FREQUENCIES)[IDF]
        parts, for_documents = (rankers(dense, idf) for dense in dense_rankers(model, head))
        calibration = [TopicLine(key, value, message, groups(key)) for key, value, message, _ in lines["calibration"]]
        ranking = calibrated(settings, seed, parts, calibration, held_out, questions, for_documents)
        artifact.write_json(folder / RANKING, ranking)
        metrics, scatter = evaluate_retriever(parts, ranking["memories"], test, lines["test"], lines["synonyms"])
        artifact.write_json(folder / "metrics.json", metrics)
        spread = scatter.sample(min(SCATTER_ROWS, len(scatter)), random_state=seed).sort_index()
        spread.round(6).to_csv(folder / "scatter.csv", index=False, lineterminator="\n")


def _in_other_words(lines: list[TopicLine], variants: dict[str, Any], random: Random) -> list[TopicLine]:
    words, frames = variants["words"], variants["frames"]
    return [line._replace(message=varied(line.message, words, frames, random)) for line in lines]


def _train(
    model: "SentenceTransformer",
    settings: Retriever,
    seed: int,
    log: Log,
    own: list[TopicLine],
    topics: list[TopicLine],
    pairs: pd.DataFrame,
    variants: dict[str, Any],
) -> None:
    """Train on the slices' lines, as many of the topics' beside them, and once on the pairs."""
    from tasks.retrieval.training import pair_rows, ranking_rows, train_encoder

    random = Random(seed)
    rows = settings.steps * settings.batch_size
    half = rows // 2 if topics else rows
    own, topics = (random.sample(lines * (half // len(lines) + 1), half) if lines else [] for lines in (own, topics))
    own = _in_other_words(own, variants, random)
    ranking = ranking_rows([*own, *topics], rows, seed)
    train_encoder(model, settings, seed, log, {"ranking": ranking, "pairs": pair_rows(pairs)})
