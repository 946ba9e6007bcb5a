"""Stage 2: freeze the backbone and train only the LM head, on the slice's rows and on older ones."""

import shutil
from pathlib import Path

from tasks import artifact
from tasks.corpus.slices import load_examples
from tasks.lm.batches import encode
from tasks.lm.causal import limit_of, load, save, untie
from tasks.lm.head import features, refit_head, rows_for_the_head
from tasks.lm.methods.samples import at_most
from tasks.lm.mixing import OLDER
from tasks.lm.pretrained import stage2_for
from tasks.params import Stage2
from tasks.steps import Log


def stage2(settings: Stage2, seed: int, examples: Path, stage1: Path, out: Path, log: Log) -> None:
    """Refit the head of the model in `stage1`; what its methods keep for the next slice is handed on."""
    model, tokenizer = load(stage1)
    settings = stage2_for(settings, stage1)
    history: list[dict[str, float]] = []
    if settings.epochs:
        untie(model)
        older = artifact.read_json(stage1 / OLDER)
        rows = rows_for_the_head(settings.rows, load_examples(examples).train, older["rows"], older["share"], seed)
        sequences = encode(at_most(rows, settings.max_rows, seed), tokenizer, limit_of(model))
        hidden, labels = features(model, sequences)
        history = refit_head(model, hidden, labels, settings, seed, log)
    with artifact.writing(out) as folder:
        save(model, tokenizer, folder)
        artifact.write_rows(folder / "log.jsonl", history)
        if (stage1 / "method").exists():
            shutil.copytree(stage1 / "method", folder / "method")
