"""Checkpoints of the training loop: tensors in safetensors, the rest in JSON, checked by SHA-256 on reading."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tasks import artifact
from tasks.errors import BadInput, Corrupt

WORTH = 10  # times as long as writing a checkpoint took has to be trained before the next one


class Pace:
    """Says when a checkpoint is worth what it costs: every so many steps, but for a tenth of the time at most.

    When one is written does not change what is learnt: a run that goes on from an earlier one ends with the same bytes.
    """

    def __init__(self, every: int, clock: Callable[[], float] = time.monotonic):
        self.every, self.clock = every, clock
        self.took, self.last = 0.0, clock()  # seconds that the last checkpoint took, and when it was there

    def due(self, done: int) -> bool:
        """Whether to write one after so many steps."""
        return done % self.every == 0 and self.clock() - self.last >= WORTH * self.took

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Around the writing of a checkpoint."""
        started = self.clock()
        yield
        self.last = self.clock()
        self.took = self.last - started


def save_checkpoint(
    scratch: Path,
    step: int,
    trained: dict[str, nn.Parameter],
    method_state: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    history: list[dict[str, float]],
) -> None:
    """Write a checkpoint, whole or not at all, and then remove the older ones."""
    tensors: dict[str, Tensor] = {f"weight.{name}": value.detach() for name, value in trained.items()}
    tensors |= {f"method_state.{name}": value.detach() for name, value in method_state.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items()}
    tensors["random"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    folder = scratch / f"step-{step:08d}"
    with artifact.writing(folder) as partial:
        save_file({name: value.contiguous() for name, value in tensors.items()}, partial / "state.safetensors")
        artifact.write_rows(partial / "history.jsonl", history)  # keeps the order of the keys, as the log does
    for older in scratch.glob("step-*"):
        if older != folder:
            shutil.rmtree(older)


def restore(
    scratch: Path, trained: dict[str, nn.Parameter], method_state: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> tuple[int, list[dict[str, float]]]:
    """Put back the newest checkpoint that is whole; return its step and history, or 0 and none."""
    for folder in sorted(scratch.glob("step-*"), reverse=True):
        try:
            artifact.verified(folder)
        except (BadInput, Corrupt):
            continue  # torn or rotten: the one before it leads to the same result
        tensors = load_file(folder / "state.safetensors")
        with torch.no_grad():
            for name, value in trained.items():
                value.copy_(tensors[f"weight.{name}"])
            for name, tensor in method_state.items():
                tensor.copy_(tensors[f"method_state.{name}"])
        optimizer.load_state_dict(optimizer.state_dict() | {"state": _optimizer_state(tensors)})
        torch.set_rng_state(tensors["random"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"])
        return int(folder.name.removeprefix("step-")), artifact.read_rows(folder / "history.jsonl")
    return 0, []


def _optimizer_state(tensors: dict[str, Tensor]) -> dict[int, dict[str, Any]]:
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    return state
