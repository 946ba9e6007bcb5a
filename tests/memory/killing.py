"""Kills writers of one memory store again and again, and looks whether it has all that it acknowledged.

    python -m tests.memory.killing FOLDER [WRITES] [KILLS] [SEED]

Writers are children of this process, forked after the imports. Each keeps replacing the values of its own keys, for
users that all writers share, and acknowledges every write on a pipe when `remember` has returned. SIGKILL falls at a
random moment of a random writer's life; another one takes its place.
"""

import os
import random
import select
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple

from tasks.memory.damage import verify
from tasks.memory.store import history_of, memories_of, opened, remember

WRITERS, USERS, KEYS = 4, 50, 20
LONGEST = 1.0  # seconds that a writer lives at most
NO_LIMIT = 10_000_000  # memories per user: nothing is to leave for lack of room
PATIENCE = 0.01  # seconds between two looks at the writers
BLOCK = 65_536  # bytes read from a pipe at once

Key = tuple[str, str]  # user, key
Acknowledged = dict[Key, list[str]]  # the values, in their order


@dataclass
class Writer:
    """A child that writes, and where it acknowledges: a line of user, key and value."""

    process: int
    pipe: int
    dies: float  # by the monotonic clock
    rest: bytes = b""  # of a line that was read in part


class Found(NamedTuple):
    """What the store has, held against what was acknowledged."""

    acknowledged: int
    kills: int
    lost: int
    doubled: int
    unacknowledged: int  # written, and killed before the acknowledgement: at most one per kill
    problems: list[str]


def main(folder: Path, writes: int, kills: int, seed: int) -> int:
    """Print the figures; return 0 if nothing was lost or doubled and the store is sound."""
    started = time.monotonic()
    found = sweep(folder, writes, kills, seed)
    seconds = time.monotonic() - started
    print(f"{found.acknowledged:,} acknowledged writes, {found.kills} kills, {WRITERS} writers, {seconds:.0f} s")
    print(f"{found.lost} lost, {found.doubled} doubled, {found.unacknowledged} written but not acknowledged")
    print(f"the store is {'sound' if not found.problems else f'damaged: {found.problems[:3]}'}")
    return 1 if found.lost or found.doubled or found.problems or found.unacknowledged > found.kills else 0


def sweep(folder: Path, writes: int, kills: int, seed: int) -> Found:
    """Let writers write and die until there were as many writes and kills, and look at what they left."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "memories.db"
    acknowledged, killed = _let_them_write(path, writes, kills, random.Random(seed))
    with opened(path, NO_LIMIT) as connection:
        users = {user for user, _ in acknowledged}
        valid = {(user, each.key): each.value for user in users for each in memories_of(connection, user)}
        written = {key: [each.value for each in history_of(connection, *key)] for key in acknowledged}
        rows = connection.execute("SELECT count(*) FROM memories").fetchone()[0]
        problems = verify(connection).problems
    total = sum(map(len, acknowledged.values()))
    lost = sum(len(set(values) - set(written[key])) for key, values in acknowledged.items())
    lost += sum(int(valid.get(key, -1)) < int(values[-1]) for key, values in acknowledged.items())
    doubled = sum(len(values) - len(set(values)) for values in written.values())
    return Found(total, killed, lost, doubled, rows - total, problems)


def _let_them_write(path: Path, writes: int, kills: int, chance: random.Random) -> tuple[Acknowledged, int]:
    """What was acknowledged, and how many writers were killed."""
    acknowledged: Acknowledged = {}
    writers: list[Writer] = []
    total = killed = started = 0
    try:
        while writers or total < writes or killed < kills:
            enough = total >= writes and killed >= kills
            while len(writers) < WRITERS and not enough:
                writers.append(_start(path, started, chance.uniform(0, LONGEST)))
                started += 1
            select.select([writer.pipe for writer in writers], [], [], PATIENCE)
            for writer in list(writers):
                dead = time.monotonic() >= writer.dies or enough
                if dead:
                    os.kill(writer.process, signal.SIGKILL)
                    _, status = os.waitpid(writer.process, 0)
                    assert os.WIFSIGNALED(status), "a writer has failed: its error stands above"
                    writers.remove(writer)
                    killed += 1
                for user, key, value in _acknowledged(writer):
                    acknowledged.setdefault((user, key), []).append(value)
                    total += 1
                if dead:
                    os.close(writer.pipe)
    finally:
        for writer in writers:
            os.kill(writer.process, signal.SIGKILL)
            os.waitpid(writer.process, 0)
    return acknowledged, killed


def _start(path: Path, number: int, lifetime: float) -> Writer:
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _write(path, number, writes)
        finally:
            traceback.print_exc()
            os._exit(1)
    os.close(writes)
    os.set_blocking(reads, False)
    return Writer(child, reads, time.monotonic() + lifetime)


def _write(path: Path, writer: int, pipe: int) -> None:
    with opened(path, NO_LIMIT) as connection:
        for number in count():
            user, key = f"user-{(writer + number) % USERS}", f"{writer} {number % KEYS}"
            assert remember(connection, user, key, str(number))
            os.write(pipe, f"{user}\t{key}\t{number}\n".encode())


def _acknowledged(writer: Writer) -> list[list[str]]:
    """The lines that have come in since the last time."""
    with suppress(BlockingIOError):
        while new := os.read(writer.pipe, BLOCK):
            writer.rest += new
    *lines, writer.rest = writer.rest.split(b"\n")
    return [line.decode().split("\t") for line in lines]


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[2:]]
    raise SystemExit(main(Path(sys.argv[1]).resolve(), *(numbers + [100_000, 100, 1][len(numbers) :])))
