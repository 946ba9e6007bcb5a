"""One way of training a model, for a few steps: what a step takes, in time and memory, and what became of the loss.

`python -m tasks.speed WAY MODEL EXAMPLES OUT STEPS` does it in a process of its own, so that its memory is its own, and
prints a line of JSON for the step that it is at.
"""

import shutil
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from tasks import artifact
from tasks.adapter_params import LoRA
from tasks.corpus.slices import load_examples
from tasks.errors import BadInput, exit_code_of
from tasks.lm.blocks import blocks_of
from tasks.lm.brief import fine_tune_briefly
from tasks.lm.causal import build, load
from tasks.lm.logits import compute_in
from tasks.params import SMALL, Methods, Params, Precision, load_params
from tasks.sources.hub import folder_of
from tasks.steps import Log, print_step

FOUND = "speed.json"
RATE, WARMUP = 5e-5, 0.1
COMPILERS = ("g++", "c++", "clang++", "cl")  # one of which torch.compile wants on a CPU
ADAPTER = LoRA(name="lora", rank=16, alpha=32, target_modules="all-linear", learning_rate_factor=10.0)


@dataclass(frozen=True)
class Way:
    """How a model is trained, and how params.yaml says so."""

    setting: str
    precision: Precision = "float32"
    stage1: dict[str, Any] = field(default_factory=dict)
    methods: Methods = ()
    compiled: bool = False


PLAIN = "plain"
WAYS = {
    PLAIN: Way("float32, all weights, a batch at once"),
    "bfloat16": Way("precision: bfloat16", precision="bfloat16"),
    "in four parts": Way("stage1: {accumulate: 4}", stage1={"accumulate": 4}),
    "blocks twice": Way("stage1: {activation_checkpointing: true}", stage1={"activation_checkpointing": True}),
    "LoRA": Way("{name: lora, rank: 16}", methods=(ADAPTER,)),
    "LoRA, bfloat16": Way("and precision: bfloat16", precision="bfloat16", methods=(ADAPTER,)),
    "LoRA, bfloat16 base": Way(
        "and base: bfloat16", precision="bfloat16", methods=(ADAPTER.model_copy(update={"base": "bfloat16"}),)
    ),
    "compiled blocks": Way("torch.compile; only tried here", compiled=True),
}  # fmt: skip


def why_not(way: Way) -> str | None:
    """Why this machine can't train so; None if it may."""
    if way.compiled and not (torch.cuda.is_available() or any(map(shutil.which, COMPILERS))):
        return f"there is no C++ compiler ({', '.join(COMPILERS)})"
    return None


def measure_way(way: Way, source: str, params: Params, examples: Path, out: Path, steps: int, log: Log) -> None:
    """Train a model for a moment, and write into the folder `out` what it took.

    Args:
        way: how.
        source: `small`, built here, or a folder, a GGUF file or a name on the hub.
        params: batches and seed as the pipeline has them.
        examples: of a slice: its rows are trained on.
        out: gets speed.json: seconds and tokens of each step, peak_memory_mb, and the mean loss of the later half.
        steps: the first of which is no part of what counts: it warms up.
        log: is given step and values.

    Raises:
        BadInput: there is no such model, or the slice has no rows.
    """
    rows = load_examples(examples).train
    if not rows:
        raise BadInput(f"{examples.name} has no rows to train on. Give the oldest slice facts, chat or texts.")
    compute_in(way.precision)
    own = {"steps": steps, "learning_rate": RATE, "warmup": WARMUP, "accumulate": 1, "activation_checkpointing": False}
    stage1 = params.stage1.model_copy(update=own | way.stage1)
    texts = [f"{row['prompt']} {row['target']}" for row in rows]
    is_small = source == SMALL
    model, tokenizer = build(params.pretrain, texts, params.seed) if is_small else load(folder_of(source, "MODEL"))
    prepare = _compile if way.compiled else lambda model: None
    brief = fine_tune_briefly(model, tokenizer, rows, way.methods, stage1, params.seed, log, prepare, end=False)
    found = {
        "seconds": brief.seconds,
        "tokens": brief.tokens,
        "peak_memory_mb": brief.cost["peak_memory_mb"],
        "loss": statistics.fmean(brief.loss[steps // 2 :]),
    }
    with artifact.writing(out) as partial:
        artifact.write_json(partial / FOUND, found)


def _compile(model: PreTrainedModel) -> None:
    for block in blocks_of(model):
        block.compile(dynamic=True)


def main() -> int:
    name, source, examples, out, steps = sys.argv[1:]
    params = load_params()
    torch.set_num_threads(params.threads)
    return exit_code_of(
        lambda: measure_way(WAYS[name], source, params, Path(examples), Path(out), int(steps), print_step)
    )


if __name__ == "__main__":
    raise SystemExit(main())
