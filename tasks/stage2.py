"""Stage 2: freeze the backbone and train only the LM head, on the same data."""

import shutil
from pathlib import Path

from tasks import artifact
from tasks.lm.batches import Part, encode
from tasks.lm.causal import limit_of, load, save, untie
from tasks.lm.head import balanced_sample, features, refit_head
from tasks.lm.methods import build_methods
from tasks.lm.mixing import shares_of
from tasks.params import Methods, Stage2
from tasks.steps import Log


def stage2(settings: Stage2, methods: Methods, seed: int, examples: Path, stage1: Path, out: Path, log: Log) -> None:
    """Refit the head of the model in `stage1`; what its methods keep for the next slice is handed on."""
    model, tokenizer = load(stage1)
    untie(model)
    shares = shares_of(examples, build_methods(methods, seed))
    parts = [Part(encode(rows, tokenizer, limit_of(model)), share) for rows, share in shares]
    hidden, labels = features(model, balanced_sample(parts, seed))
    history = refit_head(model, hidden, labels, settings, seed, log)
    with artifact.writing(out) as folder:
        save(model, tokenizer, folder)
        artifact.write_rows(folder / "log.jsonl", history)
        if (stage1 / "method").exists():
            shutil.copytree(stage1 / "method", folder / "method")
