"""How long it takes to find a message's memory among 10,000: `python -m benchmarks.many_memories RETRIEVER`.

RETRIEVER is a folder such as models/2024/retriever. Timed is all that a chat turn does before the model answers, on
one thread: the store is asked for what is valid, the index for what is near, the ranker for what fits, and the hit is
noted.
"""

import sys
import time
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from tasks.memory.near import Known, Near
from tasks.memory.store import opened, remember
from tasks.retrieval.search import load_finder

MEMORIES, MESSAGES = 10_000, 400
KINDS = ("appointment", "present", "book", "recipe", "address", "friend", "song", "trip", "price", "size")


def main() -> None:
    """Print the median and the 95th percentile of processor and wall time."""
    torch.set_num_threads(1)
    finder = load_finder(Path(sys.argv[1]))
    if finder is None:
        sys.exit(f"{sys.argv[1]} holds no retriever. Name one: models/2024/retriever")
    now = datetime.now().astimezone()
    with TemporaryDirectory() as folder, opened(Path(folder) / "m.db") as connection:
        for number in range(MEMORIES):
            remember(connection, "ann", f"{KINDS[number % len(KINDS)]} {number}", f"value {number * 7}", now)
        known, near = Known(), Near(finder, Path(folder) / "indexes", "ann", "auto")
        took = []
        for number in range(MESSAGES):
            message = f"What was the {KINDS[number % len(KINDS)]} {number * 23 % MEMORIES}?"
            started, wall = time.process_time(), time.perf_counter()
            memories = known.read(connection, "ann", now)
            for place, _ in near.find(message, [memory.text for memory in memories]):
                known.used(connection, "ann", memories[place], now)
            took.append((time.process_time() - started, time.perf_counter() - wall))
    first, *rest = np.array(took) * 1000
    for name, values in zip(("processor", "wall"), np.array(rest).T, strict=True):
        p50, p95 = np.percentile(values, (50, 95))
        print(f"{name} time: p50 {p50:.1f} ms, p95 {p95:.1f} ms over {len(values)} messages")
    print(f"first message, which builds the index: {first[1] / 1000:.1f} s")


if __name__ == "__main__":
    main()
