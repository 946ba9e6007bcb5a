"""The base model: a small GPT-NeoX pretrained on the oldest slice's language, or any causal LM by name."""

from pathlib import Path
from typing import Any

from tasks import artifact
from tasks.corpus.general import read_general
from tasks.corpus.slices import Row, load_examples
from tasks.errors import BadInput
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.causal import build, device, limit_of, load, save, shorten
from tasks.lm.pretrained import BUILT, write_base
from tasks.lm.template import PLAIN
from tasks.lm.training import Schedule, train
from tasks.params import SMALL, Pretrain, Pretrained
from tasks.scoring.trial import try_rates
from tasks.steps import Log

DEFAULT = Pretrained()
LANGUAGE = ("statement", "text", "chat")


def pretrain(
    settings: Pretrain,
    seed: int,
    examples: Path,
    out: Path,
    scratch: Path,
    log: Log,
    general: Path | None = None,
    pretrained: Pretrained = DEFAULT,
) -> None:
    """Write the base model, and what it is.

    A small one learns statements, texts and talk; questions come with stage 1. A pretrained one is left as it is,
    and asked at which rate its language outlives training.

    Raises:
        BadInput: there is no such model, `general` holds no text, or a small one is to be built from no rows.
    """
    history: list[dict[str, float]] = []
    rows, base = load_examples(examples).train, BUILT
    if settings.model == SMALL:
        if not rows:
            raise BadInput(
                f"The oldest slice, {examples.name}, has nothing that a language model could be built from. Give it "
                f"facts, chat, texts or training examples in data/raw/{examples.name}, or name a causal LM as "
                "pretrain.model in params.yaml."
            )
        texts = [
            f"{PLAIN.prompt(row['prompt'])}{PLAIN.target(row['target'])}" if row["prompt"] else row["target"]
            for row in rows
        ]
        model, tokenizer = build(settings, texts, seed)
        shorten(model, settings.batch_tokens)
        language = [row for row in rows if row["kind"] in LANGUAGE] or rows
        parts = [Part(encode(language, tokenizer, limit_of(model)), 1.0)]
        data = Mixture(parts, settings.batch_tokens, settings.steps, seed, device())
        schedule = Schedule(settings.steps, settings.learning_rate, settings.warmup)
        history = train(model, data, schedule, scratch=scratch, log=log, seed=seed)
    else:
        base = _rates(settings, pretrained, seed, rows, general, scratch, log)
        model, tokenizer = load(settings.model)
        base["parameters"] = model.num_parameters()
    with artifact.writing(out) as folder:
        save(model, tokenizer, folder)
        write_base(folder, base)
        artifact.write_rows(folder / "log.jsonl", history)


def _rates(
    settings: Pretrain,
    pretrained: Pretrained,
    seed: int,
    rows: list[Row],
    general: Path | None,
    scratch: Path,
    log: Log,
) -> dict[str, Any]:
    """The rates at which the model is trained, and the trials that chose them."""
    rate = min(pretrained.learning_rates)
    trials: list[dict[str, Any]] = []
    if general and rows and len(pretrained.learning_rates) > 1:
        texts, size = read_general(general), settings.batch_tokens
        rate, trials = try_rates(settings.model, pretrained, rows, texts, size, seed, scratch / "trial", log)
    return {
        "pretrained": True,
        "learning_rate": rate,
        "stage2_learning_rate": pretrained.stage2_learning_rate,
        "trials": trials,
    }
