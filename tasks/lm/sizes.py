"""What training a model takes, before anything of it is loaded: parameters, bytes, seconds.

Parameters are counted on a model without storage. What a forward pass keeps for the way back, and what both take, is
measured on two shallow models of the same width with random weights, and carried on to the real depth: every block
costs as much as any other. The peak of a step with AdamW in float32 (Kingma and Ba 2015, arXiv 1412.6980: two moments):

    weights + moments + max(activations + logits + the head's gradient, all gradients)

and a seventh more of the system's memory, which its allocator holds between them (measured, docs/models.md).
"""

import copy
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from tasks.lm.logits import hidden_states
from tasks.lm.methods import build_methods
from tasks.params import Methods

FLOAT = 4  # bytes
HELD = 1.15  # of the system's memory, beside what is asked for: the allocator's loss
PROCESS = 550 * 2**20  # Python, torch and the other libraries
SHALLOW = (2, 4)  # blocks
LENGTH = 32  # tokens of a row
FEW = 64  # tokens known to a shallow model: its embeddings are not what is measured
LOGITS = 3  # copies: the logits, their logarithms, the gradient
HEAD = 4096  # words of the head that is timed
# Copies of the trained weights that a method holds beside AdamW's, and of all weights.
COPIES = {"l2": 1, "ewc": 2, "recadam": 1, "ema": 1, "cls_er": 2, "reptile": 1}
TEACHERS = {"distillation": 1}


@dataclass(frozen=True)
class Sizes:
    """Of training a model: numbers of parameters, bytes, and seconds for a step on this machine (0: not measured)."""

    parameters: int
    trained: int
    width: int
    words: int
    batch_tokens: int
    activations: int
    methods: int
    seconds: float = 0.0

    @property
    def weights(self) -> int:
        return FLOAT * self.parameters

    @property
    def moments(self) -> int:
        return 2 * FLOAT * self.trained

    @property
    def logits(self) -> int:
        return LOGITS * FLOAT * self.batch_tokens * self.words

    @property
    def peak(self) -> int:
        """Bytes of a step, of the process that takes it."""
        head = FLOAT * self.width * self.words if self.trained == self.parameters else 0
        going = max(self.activations + self.logits + head, FLOAT * self.trained)
        return PROCESS + round(HELD * (self.weights + self.moments + self.methods + going))

    def with_batch(self, tokens: int) -> "Sizes":
        """Of batches of another size."""
        share = tokens / self.batch_tokens
        activations, seconds = round(self.activations * share), self.seconds * share
        return replace(self, batch_tokens=tokens, activations=activations, seconds=seconds)


def sizes_of(config: PretrainedConfig, methods: Methods, batch_tokens: int) -> Sizes:
    """What stage 1 takes for a model of this config.

    Args:
        config: of a causal LM.
        methods: of which those that train weights of their own decide what is trained.
        batch_tokens: of a step.
    """
    with torch.device("meta"):
        whole: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    parameters = sum(value.numel() for value in whole.parameters())
    text = config.get_text_config()
    adapting = tuple(each for each in methods if each.weights == "adapter")
    few, more = (_probed(config, adapting, depth, batch_tokens) for depth in SHALLOW)
    blocks = text.num_hidden_layers
    carried = [_carried(one, other, blocks) for one, other in zip(few, more, strict=True)]
    trained = round(carried[0]) if adapting else parameters
    copies = sum(COPIES.get(each.name, 0) for each in methods) * trained
    teachers = sum(TEACHERS.get(each.name, 0) for each in methods) * parameters
    return Sizes(
        parameters=parameters,
        trained=trained,
        width=text.hidden_size,
        words=text.vocab_size,
        batch_tokens=batch_tokens,
        activations=round(carried[1]),
        methods=FLOAT * (copies + teachers),
        seconds=carried[2] + _head_seconds(text.hidden_size, text.vocab_size, batch_tokens),
    )


def _carried(few: float, more: float, blocks: int) -> float:
    """A number that grows by the same for every block."""
    return few + (more - few) / (SHALLOW[1] - SHALLOW[0]) * (blocks - SHALLOW[0])


def _probed(config: PretrainedConfig, methods: Methods, depth: int, tokens: int) -> list[float]:
    """Of a model of so many blocks: trained parameters, bytes that a forward pass keeps, seconds there and back."""
    model: PreTrainedModel = AutoModelForCausalLM.from_config(_shallow(config, depth))
    with TemporaryDirectory() as folder:
        for method in build_methods(methods, 0, 1, Path(folder)):
            model = method.begin(model, None, Path(folder))  # type: ignore[arg-type]
    model.train()
    trained = [value for value in model.parameters() if value.requires_grad]
    own = {value.untyped_storage().data_ptr() for value in [*model.parameters(), *model.buffers()]}
    kept: dict[int, Any] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # held, or another would get its place
        return value

    ids = torch.zeros(max(1, tokens // LENGTH), LENGTH, dtype=torch.long)
    seconds = []
    for _ in range(2):  # the first one is slow
        kept.clear()
        started = time.monotonic()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            hidden = hidden_states(model, ids)
        size = sum(storage.nbytes() for storage in kept.values())
        hidden.sum().backward()  # type: ignore[no-untyped-call]
        seconds.append(time.monotonic() - started)
    return [sum(value.numel() for value in trained), size, min(seconds)]


def _shallow(config: PretrainedConfig, depth: int) -> PretrainedConfig:
    made = copy.deepcopy(config)
    text = made.get_text_config()
    text.num_hidden_layers, text.vocab_size = depth, FEW
    text.bos_token_id = text.eos_token_id = text.pad_token_id = 0
    if getattr(text, "layer_types", None):
        text.layer_types = (list(text.layer_types) * depth)[:depth]
    return made


def _head_seconds(width: int, words: int, places: int) -> float:
    """Of the head's product, there and back."""
    head = torch.nn.Linear(width, HEAD)
    states = torch.randn(places, width, requires_grad=True)
    started = time.monotonic()
    head(states).sum().backward()
    return (time.monotonic() - started) * words / HEAD
