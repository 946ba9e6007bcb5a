"""One candidate of a selection: the same short fine-tune and the same questions for every model.

`python -m tasks.selection MODEL EXAMPLES GENERAL OUT STEPS QUESTIONS` tries one in a process of its own, so that its
memory is its own, and prints a line of JSON for the step that it is at.
"""

import random
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tasks import artifact
from tasks.adapter_params import LoRA
from tasks.corpus.general import General, read_general
from tasks.corpus.slices import Examples, Row, load_examples
from tasks.errors import BadInput, exit_code_of
from tasks.lm.brief import fine_tune_briefly
from tasks.lm.causal import load
from tasks.lm.cost import measured
from tasks.lm.generate import LONGEST, Generated, all_generated
from tasks.lm.logits import compute_in
from tasks.lm.template import tokens_of
from tasks.params import Params, load_params
from tasks.scoring.general import general_perplexity
from tasks.scoring.sanity import FAULTS, faults_of, scripts_of
from tasks.sources.hub import folder_of
from tasks.sources.licences import licence_of
from tasks.steps import Log, print_step

TRIAL = "trial.json"
ADAPTER = LoRA(name="lora", rank=16, alpha=32, target_modules="all-linear", learning_rate_factor=1.0)
RATE = 5e-4  # of A and B
WARMUP = 0.1
EPOCHS = 8  # that so few steps can teach something, they go over few facts, so often
CHARACTERS = 4  # of a token, about: the same facts for every tokenizer
KINDS = ("seen", "paraphrase", "everyday")
SHOWN = 6  # answers


def try_model(
    source: str, params: Params, examples: Path, general: Path, out: Path, steps: int, questions: int, log: Log
) -> None:
    """Fine-tune a model for a moment, ask it, and write into the folder `out` what it took and what it said.

    Args:
        source: a folder, a GGUF file or a name on the hub.
        params: batches, seed and texts as the pipeline has them.
        examples: of a slice: its rows are trained on and asked for.
        general: texts by language that nothing is trained on.
        out: gets trial.json.
        steps: of LoRA of rank 16 on all linear layers of the blocks.
        questions: as in training, reworded and everyday together.
        log: is given step and values.

    Raises:
        BadInput: there is no such model, it is not as the pipeline needs it, or the slice has no facts.
    """
    folder = folder_of(source, "MODEL")
    started = time.monotonic()
    model, tokenizer = load(folder)
    loaded = time.monotonic() - started
    brought, size = load_examples(examples), params.evaluate.batch_tokens
    texts = read_general(general)
    texts = {name: rows for name, rows in texts.items() if name in params.dataset.languages} or texts
    brought = few_facts(brought, steps * params.stage1.batch_tokens * CHARACTERS / EPOCHS, params.seed)
    asked = _asked(brought, questions, params.seed)
    trial: dict[str, Any] = {
        "facts": len({row["fact"] for row in brought.train}),
        "licence": licence_of(folder),
        "architecture": type(model).__name__,
        "parameters": model.num_parameters(),
        "weights_bytes": sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        "load_seconds": loaded,
        "tokens_per_100_characters": _tokens(tokenizer, texts),
        "perplexity": general_perplexity(model, tokenizer, texts, size),
        "steps": steps,
    }
    stage1 = params.stage1.model_copy(update={"steps": steps, "learning_rate": RATE, "warmup": WARMUP})
    brief = fine_tune_briefly(model, tokenizer, brought.train, (ADAPTER,), stage1, params.seed, log)
    model, trained = brief.model, brief.cost
    trial |= {
        "train_seconds": trained["seconds"],
        "train_memory_mb": trained["peak_memory_mb"],
        "train_tokens_per_second": sum(brief.tokens) / trained["seconds"],
        "loss": brief.loss,
        "perplexity_after": general_perplexity(model, tokenizer, texts, size),
    }
    said: list[Generated] = []
    answering = measured(
        lambda: said.extend(all_generated(model, tokenizer, [row["prompt"] for row in asked], LONGEST, size))
    )
    trial |= {
        "answer_seconds": answering["seconds"] / max(1, len(asked)),
        "answer_memory_mb": answering["peak_memory_mb"],
        "answer_tokens_per_second": sum(len(tokens_of(each.text, tokenizer)) for each in said) / answering["seconds"],
        **judged(asked, said, brought),
    }
    with artifact.writing(out) as partial:
        artifact.write_json(partial / TRIAL, trial)


def few_facts(brought: Examples, characters: float, seed: int) -> Examples:
    """The rows of a few facts, drawn at random: as many as have so many characters to train on, and one at least."""
    rows: dict[str, list[Row]] = {}
    for row in brought.train:
        if row["fact"]:
            rows.setdefault(row["fact"], []).append(row)
    order = sorted(rows)
    random.Random(seed).shuffle(order)
    chosen: set[str] = set()
    for fact in order:
        characters -= sum(len(row["prompt"]) + len(row["target"]) for row in rows[fact])
        if chosen and characters < 0:
            break
        chosen.add(fact)
    if not chosen:
        raise BadInput(f"{brought.name} has no facts to try models with. Give the oldest slice a facts.csv.")
    train, test = ([row for row in each if row["fact"] in chosen] for each in (brought.train, brought.test))
    return replace(brought, train=train, test=test)


def judged(asked: list[Row], said: list[Generated], brought: Examples) -> dict[str, Any]:
    """How many answers are right, by kind and in all; how many have which fault; and some of them to look at."""
    taught = [row["target"] for row in brought.train if row["prompt"]]
    scripts = scripts_of(text for row in brought.train for text in (row["prompt"], row["target"]))
    longest = max((len(text) for text in taught), default=0)
    right = [each.ended and each.text == row["target"] for row, each in zip(asked, said, strict=True)]
    faults = [faults_of(each, scripts, longest) for each in said]
    by_kind = {kind: [ok for row, ok in zip(asked, right, strict=True) if row["set"] == kind] for kind in KINDS}
    return {
        "questions": len(asked),
        "right": sum(right),
        "right_by_kind": {kind: [sum(found), len(found)] for kind, found in by_kind.items()},
        "faults": {name: sum(name in each for each in faults) for name in FAULTS},
        "answers": [
            {"prompt": row["prompt"], "expected": row["target"], "answer": each.text, "right": ok}
            for row, each, ok in list(zip(asked, said, right, strict=True))[:SHOWN]
        ],
    }


def _asked(brought: Examples, questions: int, seed: int) -> list[Row]:
    """As many rows of each kind, the same for every model, the kinds in turn."""
    drawn = []
    for kind in KINDS:
        rows = [row for row in brought.test if row["set"] == kind]
        random.Random(f"{seed} {kind}").shuffle(rows)
        drawn.append(rows[: questions // len(KINDS)])
    return [rows[place] for place in range(max(map(len, drawn))) for rows in drawn if place < len(rows)]


def _tokens(tokenizer: Any, texts: General) -> dict[str, float]:
    """By language: a tokenizer that was made for another one takes many."""
    found = {}
    for language, rows in texts.items():
        characters = sum(len(row["target"]) for row in rows)
        found[language] = 100 * sum(len(tokens_of(row["target"], tokenizer)) for row in rows) / characters
    return found


def main() -> int:
    source, examples, general, out, steps, questions = sys.argv[1:]
    params = load_params()
    torch.set_num_threads(params.threads)
    torch.use_deterministic_algorithms(True)
    compute_in(params.precision)

    return exit_code_of(
        lambda: try_model(
            source, params, Path(examples), Path(general), Path(out), int(steps), int(questions), print_step
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
