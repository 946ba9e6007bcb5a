"""A fine-tune of a few steps, by which models, or ways of training one, are compared."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.corpus.slices import Row
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.blocks import checkpoint_activations
from tasks.lm.causal import limit_of, shorten
from tasks.lm.cost import Cost, measured
from tasks.lm.methods import build_methods
from tasks.lm.training import Schedule, train
from tasks.params import Methods, Stage1
from tasks.steps import Log


@dataclass(frozen=True)
class Brief:
    """What came of it: the model as it may be asked, what its steps cost, and of each its seconds, tokens and loss."""

    model: PreTrainedModel
    cost: Cost
    seconds: list[float]
    tokens: list[int]
    loss: list[float]


def fine_tune_briefly(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[Row],
    methods: Methods,
    stage1: Stage1,
    seed: int,
    log: Log,
    prepare: Callable[[PreTrainedModel], object] = lambda model: None,
    end: bool = True,
) -> Brief:
    """Train a model on rows as stage 1 does, without a checkpoint; `prepare` is given it before the first step.

    Methods end only where the model is to be asked afterwards: to merge, some need the folder that it came from.
    """
    shorten(model, stage1.batch_tokens // stage1.accumulate)
    at: list[float] = []

    def timed(step: int, values: dict[str, float]) -> None:
        at.append(time.monotonic())
        log(step, values)

    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        chosen = build_methods(methods, seed, stage1.steps, scratch)
        for method in chosen:
            model = method.begin(model, tokenizer, scratch)
        if stage1.activation_checkpointing:
            checkpoint_activations(model)
        prepare(model)
        parts = [Part(encode(rows, tokenizer, limit_of(model)), 1.0)]
        data = Mixture(parts, stage1.batch_tokens, stage1.steps, seed, model.device)
        never = stage1.steps + 1
        schedule = Schedule(stage1.steps, stage1.learning_rate, stage1.warmup, never, stage1.accumulate)
        history: list[dict[str, float]] = []
        at.append(time.monotonic())
        cost = measured(
            lambda: history.extend(train(model, data, schedule, methods=chosen, scratch=scratch, log=timed, seed=seed))
        )
        for method in reversed(chosen if end else []):
            model = method.end(model, data, scratch / "out")
    return Brief(
        model, cost,
        seconds=[after - before for before, after in zip(at, at[1:], strict=False)],
        tokens=[data.batch(step).ids.numel() for step in range(stage1.steps)],
        loss=[row["loss"] for row in history],
    )  # fmt: skip
