"""The base model: a small GPT-NeoX pretrained on the oldest slice's language, or any causal LM by name."""

from pathlib import Path

from tasks import artifact
from tasks.corpus.slices import load_examples
from tasks.errors import BadInput
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.causal import build, device, limit_of, load, save, shorten
from tasks.lm.template import prompt_text, target_text
from tasks.lm.training import Schedule, train
from tasks.params import Pretrain
from tasks.steps import Log

SMALL = "small"
LANGUAGE = ("statement", "text", "chat")


def pretrain(settings: Pretrain, seed: int, examples: Path, out: Path, scratch: Path, log: Log) -> None:
    """Write the base model. A small one learns statements, texts and talk; questions come with stage 1.

    Raises:
        BadInput: a small one is to be built from a slice without training rows; or the model can't be loaded.
    """
    history: list[dict[str, float]] = []
    if settings.model == SMALL:
        rows = load_examples(examples).train
        if not rows:
            raise BadInput(
                f"The oldest slice, {examples.name}, has nothing that a language model could be built from. Give it "
                f"facts, chat, texts or training examples in data/raw/{examples.name}, or name a causal LM as "
                "pretrain.model in params.yaml."
            )
        texts = [
            f"{prompt_text(row['prompt'])}{target_text(row['target'])}" if row["prompt"] else row["target"]
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
        model, tokenizer = load(settings.model)
    with artifact.writing(out) as folder:
        save(model, tokenizer, folder)
        artifact.write_rows(folder / "log.jsonl", history)
