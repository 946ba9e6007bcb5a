"""The retriever: an S-BERT that finds the memory for a message, trained on the pairs of all slices so far."""

from pathlib import Path

import pandas as pd

from tasks import artifact
from tasks.params import Retriever
from tasks.steps import Log

SCATTER_ROWS = 2000


def retriever(settings: Retriever, seed: int, pairs: Path, out: Path, log: Log) -> None:
    """Train the encoder and score it on held-out lines. Without any memory lines there is no model to write."""
    from tasks.retrieval.encoder import SMALL, build_encoder, load_encoder, save_encoder, shorten
    from tasks.retrieval.evaluation import evaluate_encoder, no_metrics
    from tasks.retrieval.training import train_encoder

    artifact.verified(pairs)
    train, test = (pd.read_csv(pairs / f"{split}.csv", keep_default_na=False) for split in ("train", "test"))
    lines = artifact.read_json(pairs / "lines.json")
    with artifact.writing(out) as folder:
        if train.empty:
            artifact.write_json(folder / "metrics.json", no_metrics(settings.threshold))
            return
        if settings.model == SMALL:
            texts = sorted({*train["memory_0"], *train["user_prompt_1"]})
            encoder = build_encoder(settings, texts, seed)
        else:
            encoder = load_encoder(settings.model)
            shorten(encoder, settings.max_length)
        train_encoder(encoder, train, settings, seed, log)
        held_out = [tuple(line) for line in lines["test"]]
        metrics, scatter = evaluate_encoder(encoder, test, held_out, lines["synonyms"], settings.threshold)
        save_encoder(encoder, folder / "model")
        artifact.write_json(folder / "metrics.json", metrics)
        spread = scatter.sample(min(SCATTER_ROWS, len(scatter)), random_state=seed).sort_index()
        spread.round(6).to_csv(folder / "scatter.csv", index=False, lineterminator="\n")
