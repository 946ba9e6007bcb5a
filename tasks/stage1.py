"""Stage 1: train backbone and LM head together on a slice, from the model of the slice before."""

from pathlib import Path

from tasks import artifact
from tasks.corpus.slices import Examples, load_examples, load_manners
from tasks.lm.batches import Mixture, batches_of, encode
from tasks.lm.blocks import checkpoint_activations
from tasks.lm.causal import limit_of, load, save, shorten
from tasks.lm.methods import build_methods
from tasks.lm.methods.seen import count_slice, seen_in
from tasks.lm.mixing import (
    LOG,
    METHOD,
    OLDER,
    Variation,
    encoded,
    hand_on,
    keepable_rows,
    older_rows,
    pool_for,
    write_older,
)
from tasks.lm.pretrained import stage1_for
from tasks.lm.shares import Share, at_most, split_off
from tasks.lm.solved.files import has_memory
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
    remember: bool = True,
) -> None:
    """Train the model in `previous` on the slice in `examples`, by the given methods, into `out`.

    With no rows of its own, and none that the methods rehearse, the slice hands on the model in `previous`. So it does
    where that has a solved memory, whose sums belong to its backbone, unless it is not to be remembered.
    """
    if remember and has_memory(previous):
        _hand_on(keep, seed, examples, previous, out, remember)
        return
    model, tokenizer = load(previous, remember=False)
    shorten(model, settings.batch_tokens // settings.accumulate)
    settings = stage1_for(settings, previous)
    brought = load_examples(examples)
    pool = pool_for(keep, examples, brought, previous)
    fresh, older = brought.train, older_rows(keep, examples, pool)
    chosen = build_methods(methods, seed, settings.steps, previous)
    for method in chosen:
        model = method.begin(model, tokenizer, previous)
    if settings.activation_checkpointing:
        checkpoint_activations(model)
    shares = [Share(fresh, 1.0)]
    for method in chosen:
        shares = method.examples(shares, older)
    if not any(share.rows for share in shares):
        _hand_on(keep, seed, examples, previous, out, remember)
        return
    stop = None
    if settings.patience:
        shares, held = split_off(shares, settings.held_out, seed)
        rows = at_most([row for each in held for row in each.rows], HELD_OUT_ROWS, seed)
        sequences = encode(rows, tokenizer, limit_of(model))
        held_out = [batch for _, batch in batches_of(sequences, settings.batch_tokens, model.device)]
        if held_out:  # of very few rows none is held out, and all steps are trained
            stop = EarlyStop(held_out, settings.look_every, settings.patience)
    vary = Variation(settings.everyday, load_manners(examples), f"{seed} {examples.name}")
    parts = encoded(shares, tokenizer, limit_of(model), settings.steps * settings.batch_tokens, seed, vary)
    data = Mixture(parts, settings.batch_tokens, settings.steps, seed, model.device)
    schedule = Schedule(
        settings.steps, settings.learning_rate, settings.warmup, settings.checkpoint_every, settings.accumulate
    )
    history = train(model, data, schedule, methods=chosen, stop=stop, scratch=scratch, log=log, seed=seed)
    with artifact.writing(out) as folder:
        if keep.rows == "capped":
            pool = pool.after(brought, keep, seed)
            pool.save(folder / METHOD)
        keepable = keepable_rows(keep, [*older, *fresh], pool)
        for method in reversed(chosen):
            method.keepable = keepable
            model = method.end(model, data, folder / METHOD)
        count_slice(previous, folder / METHOD, [each.name for each in methods], learnt=bool(history))
        save(model, tokenizer, folder)
        artifact.write_rows(folder / LOG, history)
        write_older(folder / OLDER, shares, older, len(fresh), seed, seen_in(previous).knows)


def _hand_on(keep: Keep, seed: int, examples: Path, previous: Path, out: Path, remember: bool) -> None:
    """Leave the model as it was, and what its methods keep; the pool loses what the slice overrides."""
    with artifact.writing(out) as folder:
        hand_on(previous, folder, remember)
        if keep.rows == "capped":
            pool = pool_for(keep, examples, load_examples(examples), previous)
            pool.after(Examples(), keep, seed).save(folder / METHOD)
        write_older(folder / OLDER, [], [], 0, seed, knew=True)
