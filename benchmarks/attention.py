"""What attention takes a CPU in bfloat16 and in float32, forward and back, and a training step with either.

`python -m benchmarks.attention [SHAPE]`, a shape of benchmarks.one_step; the step is one of LoRA, with random weights.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import typer
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from benchmarks.one_step import SHAPES
from tasks.lm.attention import attend
from tasks.lm.logits import compute_in, hidden_states, learn
from tasks.lm.methods import build_methods
from tasks.speed import WAYS

ROWS, LENGTH, ASKED = 16, 32, 12  # of a batch; tokens of a row, and those that are learnt
ROUNDS = 12


def main(shape: str = "smollm2", threads: int = 1) -> None:
    torch.set_num_threads(threads)
    config = SHAPES[shape][0]
    heads, width = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    for kind in (torch.bfloat16, torch.float32):
        given = [torch.randn(ROWS, heads, LENGTH, width, dtype=kind, requires_grad=True) for _ in range(3)]
        forward = partial(nn.functional.scaled_dot_product_attention, *given, is_causal=True)
        both = partial(_and_back, forward)
        print(f"attention, {kind}: {_milliseconds(forward):.2f} ms forward, {_milliseconds(both):.2f} ms and back")
    compute_in("bfloat16")
    model = AutoModelForCausalLM.from_config(config)
    with tempfile.TemporaryDirectory() as folder:
        (adapter,) = build_methods(WAYS["LoRA, bfloat16 base"].methods, 0, 1, Path(folder))
        model = adapter.begin(model, None, Path(folder)).train()
    took: dict[str, list[float]] = {"transformers' own": [], "in float32": []}
    for turn in range(ROUNDS):
        for name, function in zip(took, (sdpa_attention_forward, attend), strict=True):
            ALL_ATTENTION_FUNCTIONS.register("sdpa", function)
            started = time.monotonic()
            _step(model, config.vocab_size)
            if turn:  # the first warms up
                took[name].append(time.monotonic() - started)
    own, ours = (statistics.median(each) for each in took.values())
    print(f"a step of LoRA: {own:.2f} s with attention in bfloat16, {ours:.2f} s in float32, ratio {ours / own:.2f}")


def _and_back(forward: Callable[[], torch.Tensor]) -> None:
    forward().sum().backward()  # type: ignore[no-untyped-call]


def _milliseconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        started = time.monotonic()
        work()
        times.append(time.monotonic() - started)
    return 1000 * statistics.median(times)


def _step(model: PreTrainedModel, words: int) -> None:
    predicts = torch.zeros(ROWS, LENGTH, dtype=torch.bool)
    predicts[:, -ASKED:] = True
    hidden = hidden_states(model, torch.randint(words, (ROWS, LENGTH)))[predicts]
    learn(model, hidden, torch.randint(words, (ROWS * ASKED,)))
    model.zero_grad()


if __name__ == "__main__":
    typer.run(main)
