"""Which index for how many vectors? `python -m benchmarks.index FILE`

Measures building, searching, recall@10 and size of every kind of tasks/retrieval/index.py at several numbers of
invented vectors, and of pgvector at two. Seconds and milliseconds of FAISS are CPU time of its one thread: what a free
core takes. PostgreSQL works in processes of its own: its times are those that a clock shows.

The vectors have 384 dimensions, as many as small sentence encoders give, and lie as texts do: in topics of very unequal
size (Zipf, exponent 0.7), 50 to a topic on average, with directions that differ in weight (1/sqrt(rank)). Two of one
topic have a cosine of about 0.6, two of different ones of about 0. A message is a stored vector with noise, at a cosine
of 0.78 to it. The hard case has no topics: directions are drawn uniformly, and no neighbour is near.
"""

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

import numpy as np
import typer

from benchmarks.pgvector_server import PACKAGE, running
from tasks import artifact
from tasks.retrieval.index import UP_TO, Index, Nearest
from tasks.retrieval.pgvector import ADDRESS, drop, opened

WIDTH = 384
SEED = 20
TOPIC_SIZE, TOPIC_EXPONENT, TOPIC_SPREAD = 50, 0.7, 0.8
MESSAGE_NOISE = 0.8
BLOCK = 50_000  # vectors made at a time
K = 10
MESSAGES = 400
KINDS = ("flat", "hnsw", "ivf")
SIZES = [1_000, 10_000, 100_000, 1_000_000]
HARD = 100_000
PG_SIZES = (1_000, 100_000)
USER = "benchmark"
HEADER = "| vectors | kind | build, s | p50, ms | p95, ms | p99, ms | recall@10 | MB |\n" + "|---" * 8 + "|"


class Searchable(Protocol):
    """What finds the nearest of its vectors."""

    def search(self, vector: np.ndarray, k: int) -> Nearest: ...


class Row(NamedTuple):
    """One line of the table."""

    vectors: str
    kind: str
    build: float
    milliseconds: np.ndarray  # of each message
    recall: float
    megabytes: float

    def __str__(self) -> str:
        spread = " | ".join(f"{np.percentile(self.milliseconds, share):.2f}" for share in (50, 95, 99))
        end = f"{self.recall:.3f} | {self.megabytes:,.1f}"
        return f"| {self.vectors} | {self.kind} | {self.build:.1f} | {spread} | {end} |"


def clustered(count: int) -> np.ndarray:
    """Unit vectors in topics, [count, WIDTH]."""
    random = np.random.default_rng(SEED)
    topics = max(20, count // TOPIC_SIZE)
    weight = np.sqrt(1 / np.arange(1, WIDTH + 1, dtype=np.float32))
    centres = unit(random.standard_normal((topics, WIDTH), np.float32) * weight)
    turn = np.linalg.qr(random.standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)
    share = np.arange(1, topics + 1) ** -TOPIC_EXPONENT
    vectors = np.empty((count, WIDTH), np.float32)
    for start in range(0, count, BLOCK):
        block = vectors[start : start + BLOCK]
        noise = unit(random.standard_normal(block.shape, np.float32) * weight)
        topic = random.choice(topics, len(block), p=share / share.sum())
        block[:] = unit(centres[topic] + TOPIC_SPREAD * noise) @ turn
    return vectors


def uniform(count: int) -> np.ndarray:
    """Unit vectors of any direction, [count, WIDTH]."""
    return unit(np.random.default_rng(SEED).standard_normal((count, WIDTH), np.float32))


def messages_to(vectors: np.ndarray) -> np.ndarray:
    """Unit vectors near some of these, [MESSAGES, WIDTH]."""
    random = np.random.default_rng(SEED + 1)
    near = vectors[random.choice(len(vectors), MESSAGES, replace=False)]
    return unit(near + MESSAGE_NOISE * unit(random.standard_normal(near.shape, np.float32)))


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def asked(index: Searchable, messages: np.ndarray, clock: Callable[[], float]) -> tuple[np.ndarray, list[set[int]]]:
    """Milliseconds per message, and the ids found."""
    index.search(messages[0], K)
    milliseconds, found = [], []
    for message in messages:
        before = clock()
        ids, _ = index.search(message, K)
        milliseconds.append(1e3 * (clock() - before))
        found.append(set(ids.tolist()))
    return np.array(milliseconds), found


def recall(found: list[set[int]], truth: list[set[int]]) -> float:
    return float(np.mean([len(one & other) / len(other) for one, other in zip(found, truth, strict=True)]))


def faiss_rows(name: str, vectors: np.ndarray, kinds: Sequence[str]) -> Iterator[Row]:
    """Every kind on the same vectors; flat, the exact one, is the first of them."""
    messages = messages_to(vectors)
    truth: list[set[int]] = []
    for kind in kinds:
        before = time.process_time()
        index = Index(kind)
        index.add(np.arange(len(vectors)), vectors)
        build = time.process_time() - before
        milliseconds, found = asked(index, messages, time.thread_time)
        truth = truth or found
        yield Row(name, kind, build, milliseconds, recall(found, truth), len(index.to_bytes()) / 1e6)
        del index
        gc.collect()


def pgvector_rows(count: int, address: str) -> Iterator[Row]:
    """Exact, and by a graph."""
    vectors = clustered(count)
    messages = messages_to(vectors)
    empty = stored_megabytes(address)
    with opened(USER, "none", WIDTH, address) as index:
        before = time.monotonic()
        index.add(np.arange(count), vectors)
        build = time.monotonic() - before
        milliseconds, truth = asked(index, messages, time.monotonic)
        size = stored_megabytes(address) - empty
        yield Row(f"{count:,}", "pgvector, exact", build, milliseconds, 1.0, size)
        before = time.monotonic()
        index.build_graph()
        build += time.monotonic() - before
        milliseconds, found = asked(index, messages, time.monotonic)
        size = stored_megabytes(address) - empty
        yield Row(f"{count:,}", "pgvector, graph", build, milliseconds, recall(found, truth), size)
    drop(USER, address)


def stored_megabytes(address: str) -> float:
    import psycopg

    with psycopg.connect(address) as connection:
        size = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return size[0] / 1e6 if size else 0.0


@contextmanager
def server() -> Iterator[str | None]:
    """The address of the server that is named, else of one of its own, else None."""
    if os.environ.get(ADDRESS) or not find_spec(PACKAGE):
        yield os.environ.get(ADDRESS)
        return
    with TemporaryDirectory(prefix="perennial-pgvector-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL doesn't run as root
        with running(Path(folder)) as address:
            yield address


def rows(sizes: list[int], hard: bool, pgvector: bool) -> Iterator[Row]:
    for size in sizes:
        kinds = [kind for kind in KINDS if kind != "hnsw" or size <= UP_TO[kind]]  # a million take a quarter of an hour
        yield from faiss_rows(f"{size:,}", clustered(size), kinds)
    if hard:
        yield from faiss_rows(f"{HARD:,}, hard", uniform(HARD), KINDS)
    if pgvector:
        with server() as address:
            for size in PG_SIZES if address else ():
                yield from pgvector_rows(size, str(address))


def run(out: Path, sizes: list[int] = SIZES, hard: bool = True, pgvector: bool = True) -> None:
    """Measure, print each line as it comes, and write the table."""
    lines = [HEADER]
    print(HEADER, flush=True)
    for row in rows(sizes, hard, pgvector):
        lines.append(str(row))
        print(row, flush=True)
    artifact.write_file(out, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    typer.run(run)
