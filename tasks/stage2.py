"""Stage 2: freeze the backbone and train only the LM head, on the slice's rows and on older ones; or solve it."""

import shutil
from functools import partial
from pathlib import Path

from tasks import artifact
from tasks.corpus.slices import Examples, load_examples, load_manners
from tasks.lm.batches import encode
from tasks.lm.causal import limit_of, load, save, shorten, untie
from tasks.lm.head import FEATURE_TOKENS, features, refit_head, rows_for_the_head
from tasks.lm.mixing import LOG, METHOD, OLDER, Variation, hand_on
from tasks.lm.pretrained import stage2_for
from tasks.lm.shares import at_most
from tasks.lm.solved.calibration import solve_for
from tasks.lm.solved.files import has_memory, save_memory
from tasks.lm.solved.learn import begun, learn_slice, parts_of, questions_of, unlearn
from tasks.lm.solved.shards import add_shards, is_made, make_shard, shards_in
from tasks.params import Stage2
from tasks.solved_params import Solved
from tasks.steps import Log


def stage2(
    settings: Stage2, seed: int, examples: Path, stage1: Path, out: Path, log: Log, scratch: Path | None = None
) -> None:
    """Refit the head of the model in `stage1`; what its methods keep for the next slice is handed on.

    The model is handed on as it is without epochs, without rows to refit its head on, and where the model knew
    something before but none of these rows is older: refitted on the newest alone, the head would forget the rest.
    `rows: fresh` asks for just that, and gets it where older rows were left to choose from; an anchor holds what it
    can.

    `how: solved` trains nothing: what the slice brings is added to the sums of the solved memory. Where that is done in
    shards, those that lie in `scratch` are taken, and the others left there until the end.
    """
    if settings.how == "solved":
        _solve(settings.solved, seed, examples, stage1, out, log, shards(settings, scratch) if scratch else [])
        return
    older = artifact.read_json(artifact.verified(stage1) / OLDER)
    fresh = load_examples(examples).train
    rows = rows_for_the_head(settings.rows, fresh, older["rows"], older["share"], seed)
    own = {row.get("id") for row in fresh}
    asked_for = settings.anchor or (settings.rows == "fresh" and older["rows"])
    erases = older["knew"] and not asked_for and all(row.get("id") in own for row in rows)
    if not (settings.epochs and rows) or erases:
        with artifact.writing(out) as folder:
            hand_on(stage1, folder)
        return
    settings = stage2_for(settings, stage1)
    model, tokenizer = load(stage1)
    shorten(model, FEATURE_TOKENS)
    untie(model)
    vary = Variation(settings.everyday, load_manners(examples), f"{seed} {examples.name} stage2")
    sequences = encode(vary(at_most(rows, settings.max_rows, seed), 0), tokenizer, limit_of(model))
    hidden, labels = features(model, sequences)
    history = refit_head(model, hidden, labels, settings, seed, log)
    with artifact.writing(out) as folder:
        save(model, tokenizer, folder)
        artifact.write_rows(folder / LOG, history)
        if (stage1 / METHOD).exists():
            shutil.copytree(stage1 / METHOD, folder / METHOD)


def shards(settings: Stage2, scratch: Path) -> list[Path]:
    """Where the shards of a slice's sums lie, or are to lie; none where it is summed up at once."""
    solved = settings.how == "solved" and settings.solved.shards > 1
    return shards_in(scratch, settings.solved.shards) if solved else []


def shard(settings: Stage2, seed: int, examples: Path, stage1: Path, out: Path) -> None:
    """Make one of the shards of a slice's sums, unless it is there or the slice has nothing to learn."""
    fresh = load_examples(examples)
    if is_made(out) or not _asks(fresh):
        return
    model, tokenizer = load(stage1)
    memory, _ = begun(model, tokenizer, settings.solved, fresh, stage1)
    rows = questions_of(fresh.train, settings.solved, examples, seed)
    make_shard(model, tokenizer, memory, parts_of(rows, settings.solved), out)


def _solve(settings: Solved, seed: int, examples: Path, stage1: Path, out: Path, log: Log, parts: list[Path]) -> None:
    fresh = load_examples(examples)
    erases = bool(fresh.erased) and has_memory(stage1)
    if not (erases or _asks(fresh)):
        with artifact.writing(out) as folder:
            hand_on(stage1, folder)
        return
    model, tokenizer = load(stage1)
    memory, kept = begun(model, tokenizer, settings, fresh, stage1)
    unlearn(model, tokenizer, memory, kept, examples)
    add = partial(add_shards, model, tokenizer, memory, parts) if parts else None
    added = learn_slice(model, tokenizer, memory, kept, fresh, examples, seed, add)
    solve_for(model, tokenizer, memory, kept, added, seed)
    count = sum(len(rows) for rows in added.values())
    told = {"rows": count, "places": kept.places, "reproduced": memory.buckets[-1].reproduced}
    log(1, told)
    with artifact.writing(out) as folder:
        hand_on(stage1, folder)
        save_memory(memory, folder)
        kept.save(folder)
        artifact.write_rows(folder / LOG, [{"step": 1, **told}])


def _asks(examples: Examples) -> bool:
    return any(row["prompt"] for row in examples.train)
