"""What a piece of work costs: seconds, operations, and the most memory that it held."""

import json
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from tasks.lm.flops import counted
from tasks.steps import Log

Cost = dict[str, float]  # seconds; flops; peak_memory_mb: see `measured`

CLEAR = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


def measured(work: Callable[[], object]) -> Cost:
    """Do it; return seconds, flops and peak_memory_mb.

    That is in MiB: of the whole process while it ran, or, where a GPU is used, of what was held on the GPU.
    """
    _forget_the_peak()
    started = time.monotonic()
    with counted() as operations:
        work()
    seconds = time.monotonic() - started
    return {"seconds": round(seconds, 3), "flops": operations.count, "peak_memory_mb": round(_peak(), 1)}


def measured_by_step(work: Callable[[Log], object], log: Log, spent: Path) -> Cost:
    """Do work that logs its steps, and that a process which was killed may have begun; return what `measured` does.

    What it has cost after each step is a line of the file `spent`. A process that goes on where another stopped takes
    over what that had paid up to the same step, so nothing is counted twice, nor left out. Only where the other was
    killed between a checkpoint and the next step, the new one's way to that step is counted, too.
    """
    earlier = {line["step"]: line for line in _lines(spent)}
    carried = {"seconds": 0.0, "flops": 0, "peak_memory_mb": 0.0}
    first = True

    def so_far(now: Cost) -> Cost:
        return {
            "seconds": round(carried["seconds"] + now["seconds"], 3),
            "flops": carried["flops"] + now["flops"],
            "peak_memory_mb": max(carried["peak_memory_mb"], now["peak_memory_mb"]),
        }

    def logged(step: int, values: dict[str, float]) -> None:
        nonlocal first
        now = {"seconds": time.monotonic() - started, "flops": operations.count, "peak_memory_mb": round(_peak(), 1)}
        if first and step in earlier:
            carried.update({each: earlier[step][each] - now[each] for each in ("seconds", "flops")})
            carried["peak_memory_mb"] = earlier[step]["peak_memory_mb"]
        elif first and step - 1 in earlier:
            carried.update(earlier[step - 1])
        first = False
        with spent.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **so_far(now)}) + "\n")
        log(step, values)

    spent.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with counted() as operations:
        whole = measured(lambda: work(logged))
    return so_far(whole)


def _lines(spent: Path) -> list[dict[str, float]]:
    """All that were written whole; of two about one step the later holds."""
    found = []
    for line in spent.read_text(encoding="utf-8").splitlines() if spent.exists() else []:
        with suppress(ValueError):  # torn by a kill
            found.append(json.loads(line))
    return found


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
