"""Is what `perennial plan` says of memory true? `python -m benchmarks.one_step polyglot` takes three steps, and says.

The model has the shape that is named and random weights; each case is a process of its own, as a step of a run is.
With `--said` no step is taken: the figures of presets/*.yaml, for a model that is trained and for one that is frozen.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
import typer
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PretrainedConfig,
    Qwen2Config,
)

from tasks.adapter_params import LoRA
from tasks.lm.batches import Mixture, Part, Sequence
from tasks.lm.blocks import checkpoint_activations
from tasks.lm.cost import measured
from tasks.lm.logits import compute_in
from tasks.lm.methods import build_methods
from tasks.lm.sizes import LENGTH, sizes_of
from tasks.lm.training import Schedule, train
from tasks.params import Methods
from tasks.planning import GIGA, asking

POLYGLOT = {"rank": 128, "alpha": 16, "target_modules": ("query_key_value",)}
SHAPES: dict[str, tuple[PretrainedConfig, Methods]] = {
    "polyglot": (  # Polyglot-Ko 1.3B
        GPTNeoXConfig(vocab_size=30080, hidden_size=2048, num_hidden_layers=24, num_attention_heads=16,
                      intermediate_size=8192, max_position_embeddings=2048, tie_word_embeddings=False),
        (LoRA(name="lora", **POLYGLOT),),
    ),
    "smollm2": (  # SmolLM2-135M
        LlamaConfig(vocab_size=49152, hidden_size=576, num_hidden_layers=30, num_attention_heads=9,
                    num_key_value_heads=3, intermediate_size=1536, tie_word_embeddings=True),
        (),
    ),
    "pythia-70m": (
        GPTNeoXConfig(vocab_size=50304, hidden_size=512, num_hidden_layers=6, num_attention_heads=8,
                      intermediate_size=2048, tie_word_embeddings=False),
        (),
    ),
    "pythia-410m": (
        GPTNeoXConfig(vocab_size=50304, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16,
                      intermediate_size=4096, tie_word_embeddings=False),
        (),
    ),
    "gpt2": (GPT2Config(), ()),
    "qwen2.5-0.5b": (
        Qwen2Config(vocab_size=151936, hidden_size=896, num_hidden_layers=24, num_attention_heads=14,
                    num_key_value_heads=2, intermediate_size=4864, tie_word_embeddings=True),
        (),
    ),
    "llama-3.2-1b": (
        LlamaConfig(vocab_size=128256, hidden_size=2048, num_hidden_layers=16, num_attention_heads=32,
                    num_key_value_heads=8, intermediate_size=8192, tie_word_embeddings=True),
        (),
    ),
    "gemma-3-270m": (
        Gemma3TextConfig(vocab_size=262144, hidden_size=640, num_hidden_layers=18, num_attention_heads=4,
                         num_key_value_heads=1, head_dim=256, intermediate_size=2048, tie_word_embeddings=True),
        (),
    ),
    "gemma-2-2b": (
        Gemma2Config(vocab_size=256000, hidden_size=2304, num_hidden_layers=26, num_attention_heads=8,
                     num_key_value_heads=4, head_dim=256, intermediate_size=9216, tie_word_embeddings=True),
        (),
    ),
}  # fmt: skip
STEPS = 3
ASKED = 2048  # tokens of a batch in the presets' evaluation


def main(
    shape: str,
    batch_tokens: int = 512,
    threads: int = 2,
    said: bool = False,
    accumulate: int = 1,
    again: bool = False,
    bfloat16: bool = False,
) -> None:
    torch.set_num_threads(threads)
    config, methods = SHAPES[shape]
    if bfloat16:
        compute_in("bfloat16")
        methods = tuple(each.model_copy(update={"base": "bfloat16"}) for each in methods)
    told = replace(sizes_of(config, methods, batch_tokens), accumulate=accumulate, again=again)
    if said:
        print(f"{shape}: {told.parameters / 1e6:,.1f} M parameters, {told.trained / 1e6:,.1f} M of them trained: "
              f"{told.peak / GIGA:.1f} GB; frozen: {asking(told, ASKED) / GIGA:.1f} GB")  # fmt: skip
        return
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with tempfile.TemporaryDirectory() as folder:
        chosen = build_methods(methods, 0, STEPS, Path(folder))
        for method in chosen:
            model = method.begin(model, None, Path(folder))
        if again:
            checkpoint_activations(model)
        rows = [Sequence(torch.randint(config.vocab_size, (LENGTH,)).tolist(), 1) for _ in range(batch_tokens)]
        data = Mixture([Part(rows, 1.0)], batch_tokens, STEPS, 0, model.device)
        schedule = Schedule(STEPS, 1e-5, 0.1, checkpoint_every=99, accumulate=accumulate)

        def steps() -> None:
            train(model, data, schedule, methods=chosen, scratch=Path(folder) / "s", log=lambda *_: None, seed=0)

        found = measured(steps)
    peak = told.step / 2**20
    print(json.dumps({
        "shape": shape, "batch_tokens": batch_tokens, "accumulate": accumulate, "again": again, "bfloat16": bfloat16,
        "parameters": told.parameters, "trained": told.trained,
        "expected_mb": round(peak), "measured_mb": found["peak_memory_mb"],
        "ratio": round(peak / found["peak_memory_mb"], 3),
        "expected_seconds": round(told.seconds * STEPS, 1), "measured_seconds": found["seconds"],
    }))  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
