"""What a piece of work costs: seconds, operations, and the most memory that it held."""

import resource
import time
from collections.abc import Callable
from pathlib import Path

import torch

from tasks.lm.flops import counted

CLEAR = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


def measured(work: Callable[[], object]) -> dict[str, float]:
    """Do it; return seconds, flops and peak_memory_mb.

    That is in MiB: of the whole process while it ran, or, where a GPU is used, of what was held on the GPU.
    """
    _forget_the_peak()
    started = time.monotonic()
    with counted() as operations:
        work()
    seconds = time.monotonic() - started
    return {"seconds": round(seconds, 3), "flops": operations.count, "peak_memory_mb": round(_peak(), 1)}


def _forget_the_peak() -> None:
    """Linux counts the peak anew after a 5 is written here; elsewhere the process's peak so far stands."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        CLEAR.write_text("5")
    except OSError:
        return


def _peak() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        line = next(each for each in STATUS.read_text().splitlines() if each.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
