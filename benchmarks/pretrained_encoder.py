"""What a retriever with a pretrained encoder finds: `python -m benchmarks.pretrained_encoder RETRIEVER DATA`.

RETRIEVER is a slice's, as models/2024/retriever of a run with `--preset multilingual-e5-small`. Its figures on the
slices' test lines are those that the run measured. Beside them, how alike sentences are to the encoder itself, whose
weights a head leaves as they are: Pearson's correlation of cosines with the scores of DATA/klue_sts/pairs.jsonl
(sentence1, sentence2, score), both sentences as queries, as E5 asks for in symmetric tasks (Wang et al. 2024).
"""

import sys
from pathlib import Path

import numpy as np

from tasks import artifact
from tasks.retrieval.encoder import load_encoder
from tasks.retrieval.rankers import Dense
from tasks.retrieval.search import MODEL

SHOWN = ("top1", "mrr", "threshold", "precision", "recall", "f1", "false_retrieval_rate")


def main(retriever: Path, data: Path) -> None:
    metrics = artifact.read_json(artifact.verified(retriever) / "metrics.json")
    print(f"{metrics['lines']} test lines: " + ", ".join(f"{name} {metrics[name]:.3f}" for name in SHOWN))
    rows = artifact.read_rows(data / "klue_sts/pairs.jsonl")
    dense = Dense(load_encoder(retriever / MODEL))
    first, second = ([dense.message_vector(row[name]) for row in rows] for name in ("sentence1", "sentence2"))
    cosines = (np.stack(first) * np.stack(second)).sum(1)
    pearson = np.corrcoef(cosines, [row["score"] for row in rows])[0, 1]
    print(f"{len(rows)} pairs of KLUE-STS: Pearson {pearson:.3f}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
