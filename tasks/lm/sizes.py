"""What training a model takes, before anything of it is loaded: parameters, bytes, seconds.

Parameters are counted on a model without storage. What a forward pass keeps for the way back, and what both take, is
measured on two shallow models of the same width with random weights, and carried on to the real depth: every block
costs as much as any other. Where blocks are computed again, the input of each is kept and the activations of one. The
peak of a step with AdamW in float32 (Kingma and Ba 2015, arXiv 1412.6980: two moments):

    weights + moments + max(activations + logits + the head's gradient, all gradients)

(in parts: the sum of both, as the gradients of the parts before are there already),
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

from tasks.adapter_params import LoRA
from tasks.lm.blocks import blocks_of
from tasks.lm.logits import MOST_LOGITS, MOST_SCORED, hidden_states
from tasks.lm.methods import METHODS, build_methods
from tasks.params import Methods

FLOAT = 4  # bytes
HELD = 1.15  # of the system's memory, beside what is asked for: the allocator's loss
PROCESS = 550 * 2**20  # Python, torch and the other libraries
SHALLOW = (2, 4)  # blocks
LENGTH = 32  # tokens of a row
FEW = 64  # tokens known to a shallow model: its embeddings are not what is measured
LOGITS = 3  # copies: the logits, their logarithms, the gradient or the chunk before; in chunks the logits are not held
HEAD = 4096  # words of the head that is timed
# Copies of the trained weights that a method holds beside AdamW's, and of all weights.
COPIES = {"l2": 1, "ewc": 2, "recadam": 1, "ema": 1, "cls_er": 2, "reptile": 1}
TEACHERS = {"distillation": 1}
AGAIN = 4 / 3  # a forward pass is a third of the work


@dataclass(frozen=True)
class Sizes:
    """Of training a model: numbers of parameters, bytes, and seconds on this machine.

    Attributes:
        parameters, trained: numbers.
        width: of the hidden states.
        words: of the vocabulary.
        blocks: how many the model has.
        batch_tokens: of a step.
        block: bytes that a forward pass of the batch keeps for a block.
        rest: and for what is no block.
        methods: bytes that methods hold.
        saved: bytes that frozen blocks in bfloat16 take less.
        plain: no method adds to the loss, so that logits are made in chunks.
        block_seconds, head_seconds: of a step, there and back.
        accumulate: parts that the batch is taken in.
        again: blocks are computed again on the way back.
    """

    parameters: int
    trained: int
    width: int
    words: int
    blocks: int
    batch_tokens: int
    block: float
    rest: float
    methods: int
    saved: int = 0
    plain: bool = True
    block_seconds: float = 0.0
    head_seconds: float = 0.0
    accumulate: int = 1
    again: bool = False

    @property
    def weights(self) -> int:
        return FLOAT * self.parameters

    @property
    def moments(self) -> int:
        return 2 * FLOAT * self.trained

    @property
    def activations(self) -> int:
        """Bytes that a forward pass keeps for the way back."""
        inputs = FLOAT * self.width * self.batch_tokens * self.blocks
        blocks = inputs + self.block if self.again else self.blocks * self.block
        return round((self.rest + blocks) / self.accumulate)

    @property
    def logits(self) -> int:
        made = self.batch_tokens * self.words // self.accumulate
        return FLOAT * ((LOGITS - 1) * min(made, MOST_LOGITS) if self.plain else LOGITS * made)

    def asked(self, tokens: int) -> int:
        """Bytes that a batch of so many tokens takes where no gradient is taken: a block's, and a chunk of logits."""
        logits = FLOAT * LOGITS * min(tokens * self.words, MOST_SCORED)
        return round(self.block * tokens / self.batch_tokens) + logits

    @property
    def seconds(self) -> float:
        """Of a step."""
        return self.blocks * self.block_seconds * (AGAIN if self.again else 1) + self.head_seconds

    @property
    def peak(self) -> int:
        """Bytes of the process that trains, which loads the model as float32 first."""
        return max(PROCESS + round(HELD * self.weights), self.step)

    @property
    def step(self) -> int:
        """Bytes of the process while it takes a step."""
        head = FLOAT * self.width * self.words if self.trained == self.parameters else 0
        there, gradients = self.activations + self.logits + head, FLOAT * self.trained
        going = max(there, gradients) if self.accumulate == 1 else there - head + gradients
        return PROCESS + round(HELD * (self.weights - self.saved + self.moments + self.methods + going))

    def with_batch(self, tokens: int) -> "Sizes":
        """Of batches of another size."""
        share = tokens / self.batch_tokens
        scaled = {name: share * getattr(self, name) for name in ("block", "rest", "block_seconds", "head_seconds")}
        return replace(self, batch_tokens=tokens, **scaled)


def sizes_of(config: PretrainedConfig, methods: Methods, batch_tokens: int) -> Sizes:
    """What stage 1 takes for a model of this config, whose batches are taken at once and whose blocks computed once.

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
    grown = [(other - one) / (SHALLOW[1] - SHALLOW[0]) for one, other in zip(few, more, strict=True)]
    begun = [one - SHALLOW[0] * each for one, each in zip(few, grown, strict=True)]
    trained = round(begun[0] + blocks * grown[0]) if adapting else parameters
    halved = any(isinstance(each, LoRA) and each.base == "bfloat16" for each in methods)
    copies = sum(COPIES.get(each.name, 0) for each in methods) * trained
    teachers = sum(
        TEACHERS.get(each.name, 0) * (trained if any(other in adapting for other in methods[:place]) else parameters)
        for place, each in enumerate(methods)
    )
    return Sizes(
        parameters=parameters,
        trained=trained,
        width=text.hidden_size,
        words=text.vocab_size,
        blocks=blocks,
        batch_tokens=batch_tokens,
        block=grown[1],
        rest=begun[1],
        methods=FLOAT * (copies + teachers),
        saved=FLOAT // 2 * _in_blocks(whole) if halved else 0,
        plain=not any(METHODS[each.name].adds_to_loss() for each in methods),
        block_seconds=grown[2],
        head_seconds=max(0.0, begun[2]) + _head_seconds(text.hidden_size, text.vocab_size, batch_tokens),
    )


def _in_blocks(model: PreTrainedModel) -> int:
    """Numbers in the matrices of the blocks."""
    return sum(value.numel() for value in blocks_of(model).parameters() if value.dim() > 1)


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
