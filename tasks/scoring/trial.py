"""A learning-rate range test (Smith 2017, arXiv 1506.01186, section 3.3) that asks what a rate costs, not only brings.

A few steps at a rate that is too high for what a pretrained model knows already wreck its language; the loss on the
slice alone does not show it, for that falls all the faster.
"""

from pathlib import Path
from typing import Any

from tasks.corpus.general import General
from tasks.corpus.slices import Row
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.causal import limit_of, load, shorten
from tasks.lm.training import Diverged, Schedule, train
from tasks.params import Pretrained
from tasks.scoring.answers import perplexity
from tasks.scoring.drift import drift, within
from tasks.scoring.general import general_perplexity
from tasks.steps import Log

WARMUP = 0.1
EVALUATION_TOKENS = 4096
ROWS = 64  # of the slice, whose perplexity shows what a rate brings


def try_rates(
    source: Path | str,
    settings: Pretrained,
    rows: list[Row],
    texts: General,
    batch_tokens: int,
    seed: int,
    scratch: Path,
    log: Log,
) -> tuple[float, list[dict[str, Any]]]:
    """The largest learning rate that a few steps of leave the general text's perplexity nearly as it is.

    Args:
        source: the model, by folder or hub name; it is loaded anew for every rate, so that no second copy is held.
        settings: the rates, how many steps each is tried for, and how far the perplexity may rise.
        rows: the slice's, to train on.
        texts: general text, by language; of all of them the perplexity must hold.
        batch_tokens: of a step.
        seed: of the batches, the same for every rate.
        scratch: a folder for the training's checkpoints, of which so short a one writes none.
        log: is given step and values of every trial.

    Returns:
        The rate (the smallest if none is harmless), and what each trial measured, the largest rate first.
    """
    model, tokenizer = load(source)
    shorten(model, batch_tokens)
    before = general_perplexity(model, tokenizer, texts, EVALUATION_TOKENS)
    data = Mixture(
        [Part(encode(rows, tokenizer, limit_of(model)), 1.0)], batch_tokens, settings.trial_steps, seed, model.device
    )
    sample = rows[:: max(1, len(rows) // ROWS)]
    own = perplexity(model, tokenizer, sample, EVALUATION_TOKENS)
    trials: list[dict[str, Any]] = [{"learning_rate": 0.0, "general_perplexity": before, "perplexity": own}]
    for rate in sorted(settings.learning_rates, reverse=True):
        del model
        model, _ = load(source)
        shorten(model, batch_tokens)
        schedule = Schedule(settings.trial_steps, rate, WARMUP, settings.trial_steps + 1)
        try:
            train(model, data, schedule, scratch=scratch, log=log, seed=seed)
        except Diverged:
            continue
        after = general_perplexity(model, tokenizer, texts, EVALUATION_TOKENS)
        own = perplexity(model, tokenizer, sample, EVALUATION_TOKENS)
        trials.append({"learning_rate": rate, "general_perplexity": after, "perplexity": own})
        if within(drift(after, before), 1 + settings.general_margin):
            return rate, trials
    return min(settings.learning_rates), trials
