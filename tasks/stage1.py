"""Stage 1: train backbone and LM head together on a slice, from the model of the slice before."""

from pathlib import Path

from tasks import artifact
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.causal import limit_of, load, save
from tasks.lm.methods import build_methods
from tasks.lm.mixing import shares_of
from tasks.lm.training import Schedule, train
from tasks.params import Methods, Stage1
from tasks.steps import Log


def stage1(
    settings: Stage1,
    methods: Methods,
    seed: int,
    examples: Path,
    previous: Path,
    out: Path,
    scratch: Path,
    log: Log,
) -> None:
    """Train the model in `previous` on the slice in `examples`, by the given methods, into `out`."""
    model, tokenizer = load(previous)
    chosen = build_methods(methods, seed)
    parts = [Part(encode(rows, tokenizer, limit_of(model)), share) for rows, share in shares_of(examples, chosen)]
    data = Mixture(parts, settings.batch_tokens, settings.steps, seed, model.device)
    for method in chosen:
        model = method.begin(model, previous)
    schedule = Schedule(settings.steps, settings.learning_rate, settings.warmup, settings.checkpoint_every)
    penalties = [method.penalty for method in chosen]
    history = train(model, data, schedule, penalties=penalties, scratch=scratch, log=log, seed=seed)
    with artifact.writing(out) as folder:
        for method in reversed(chosen):
            model = method.end(model, data, folder / "method")
        save(model, tokenizer, folder)
        artifact.write_rows(folder / "log.jsonl", history)
