"""One way of training a model, for a few steps: what a step takes, in time and memory, and what became of the loss.

`python -m tasks.speed WAY MODEL EXAMPLES OUT STEPS` does it in a process of its own, so that its memory is its own, and
prints a line of JSON for the step that it is at.
"""

import json
import shutil
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from tasks import artifact
from tasks.adapter_params import LoRA
from tasks.corpus.slices import load_examples
from tasks.errors import BadInput, exit_code_of
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.blocks import blocks_of, checkpoint_activations
from tasks.lm.causal import build, limit_of, load, shorten
from tasks.lm.cost import measured
from tasks.lm.logits import compute_in
from tasks.lm.methods import build_methods
from tasks.lm.training import Schedule, train
from tasks.params import SMALL, Methods, Params, Precision, load_params
from tasks.sources.hub import folder_of
from tasks.steps import Log

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
    stage1 = params.stage1.model_copy(update={"accumulate": 1, "activation_checkpointing": False} | way.stage1)
    texts = [f"{row['prompt']} {row['target']}" for row in rows]
    is_small = source == SMALL
    model, tokenizer = build(params.pretrain, texts, params.seed) if is_small else load(folder_of(source, "MODEL"))
    shorten(model, stage1.batch_tokens // stage1.accumulate)
    with TemporaryDirectory() as scratch:
        methods = build_methods(way.methods, params.seed, steps, Path(scratch))
        for method in methods:
            model = method.begin(model, tokenizer, Path(scratch))
        if stage1.activation_checkpointing:
            checkpoint_activations(model)
        if way.compiled:
            _compile(blocks_of(model))
        parts = [Part(encode(rows, tokenizer, limit_of(model)), 1.0)]
        data = Mixture(parts, stage1.batch_tokens, steps, params.seed, model.device)
        schedule = Schedule(steps, RATE, WARMUP, steps + 1, stage1.accumulate)
        at = [time.monotonic()]
        history: list[dict[str, float]] = []

        def timed(step: int, values: dict[str, float]) -> None:
            at.append(time.monotonic())
            log(step, values)

        cost = measured(
            lambda: history.extend(
                train(model, data, schedule, methods=methods, scratch=Path(scratch), log=timed, seed=params.seed)
            )
        )
    with artifact.writing(out) as partial:
        found = {
            "seconds": [after - before for before, after in zip(at, at[1:], strict=False)],
            "peak_memory_mb": cost["peak_memory_mb"],
            "tokens": [data.batch(step).ids.numel() for step in range(steps)],
            "loss": statistics.fmean(row["loss"] for row in history[steps // 2 :]),
        }
        artifact.write_json(partial / FOUND, found)


def _compile(blocks: nn.ModuleList) -> None:
    for block in blocks:
        block.compile(dynamic=True)


def main() -> int:
    name, source, examples, out, steps = sys.argv[1:]
    params = load_params()
    torch.set_num_threads(params.threads)

    def log(step: int, values: dict[str, float]) -> None:
        print(json.dumps({"step": step, "loss": values.get("loss")}), flush=True)

    return exit_code_of(lambda: measure_way(WAYS[name], source, params, Path(examples), Path(out), int(steps), log))


if __name__ == "__main__":
    raise SystemExit(main())
