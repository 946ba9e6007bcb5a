"""Stage 1: train backbone and LM head together on a slice, from the model of the slice before."""

from pathlib import Path

from tasks import artifact
from tasks.corpus.slices import load_examples
from tasks.lm.batches import Mixture, batches_of, encode
from tasks.lm.causal import limit_of, load, save
from tasks.lm.methods import build_methods
from tasks.lm.methods.method import Share
from tasks.lm.methods.samples import at_most, split_off
from tasks.lm.mixing import OLDER, encoded, older_rows, save_pool, write_older
from tasks.lm.pretrained import hand_on, stage1_for
from tasks.lm.training import EarlyStop, Schedule, train
from tasks.params import Keep, Methods, Stage1
from tasks.steps import Log

HELD_OUT_ROWS = 512  # so that a look takes no longer with every slice


def stage1(
    settings: Stage1,
    methods: Methods,
    keep: Keep,
    seed: int,
    examples: Path,
    previous: Path,
    out: Path,
    scratch: Path,
    log: Log,
) -> None:
    """Train the model in `previous` on the slice in `examples`, by the given methods, into `out`."""
    model, tokenizer = load(previous)
    settings = stage1_for(settings, previous)
    fresh, older = load_examples(examples).train, older_rows(keep, examples, previous)
    chosen = build_methods(methods, seed, settings.steps)
    for method in chosen:
        model = method.begin(model, tokenizer, previous)
    shares = [Share(fresh, 1.0)]
    for method in chosen:
        shares = method.examples(shares, older)
    stop = None
    if settings.patience:
        shares, held = split_off(shares, settings.held_out, seed)
        rows = at_most([row for each in held for row in each.rows], HELD_OUT_ROWS, seed)
        sequences = encode(rows, tokenizer, limit_of(model))
        held_out = [batch for _, batch in batches_of(sequences, settings.batch_tokens, model.device)]
        stop = EarlyStop(held_out, settings.look_every, settings.patience)
    parts = encoded(shares, tokenizer, limit_of(model), settings.steps * settings.batch_tokens, seed)
    data = Mixture(parts, settings.batch_tokens, settings.steps, seed, model.device)
    schedule = Schedule(settings.steps, settings.learning_rate, settings.warmup, settings.checkpoint_every)
    history = train(model, data, schedule, methods=chosen, stop=stop, scratch=scratch, log=log, seed=seed)
    with artifact.writing(out) as folder:
        for method in reversed(chosen):
            model = method.end(model, data, folder / "method")
        if keep.rows == "capped":
            save_pool(keep, fresh, older, previous, folder / "method", seed)
        save(model, tokenizer, folder)
        hand_on(previous, folder)
        artifact.write_rows(folder / "log.jsonl", history)
        write_older(folder / OLDER, shares, older, len(fresh), seed)
