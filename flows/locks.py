"""One writer at a time: the lock of a run, and steps of `dvc repro` that are still at work."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tasks.errors import Busy

LOCK = Path(".perennial/lock")
FILE_LOCKS = Path(".dvc/tmp/rwlock")


@contextmanager
def only_run(root: Path, command: str = "run") -> Iterator[int]:
    """Hold the project's lock; yields its file descriptor, which a child process is handed so that the lock
    lives as long as the last process that may write.

    Args:
        root: the project's folder.
        command: what the others are told is at work here.

    Raises:
        Busy: another command holds it, or a step that `dvc repro` started is still running.
    """
    path = root / LOCK
    path.parent.mkdir(exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            process, _, other = os.pread(descriptor, 60, 0).decode().partition(" ")
            raise Busy(
                f"`perennial {other or 'run'}` is at work here (process {process or 'unknown'}). Wait until it ends."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {command}".encode(), 0)
        refuse_other_steps(root)
        mend_after_a_kill(root)
        yield descriptor
    finally:
        os.close(descriptor)  # and the kernel releases the lock, unless a child still has it


def is_running(root: Path) -> bool:
    """Whether a command that writes holds the lock now."""
    if not (root / LOCK).exists():
        return False
    with (root / LOCK).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def refuse_other_steps(root: Path) -> None:
    """Refuse to start while a step runs here that `dvc repro` started.

    `kill -9` of `dvc repro` leaves its step alive, and DVC alone would start a second writer next to it.

    Raises:
        Busy: such a step runs; the sentence names its process.
    """
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command, folder = process.info["cmdline"] or [], process.info["cwd"]
        if command[1:3] != ["-m", "tasks"] or not folder or Path(folder) != root.resolve():
            continue
        step = " ".join(command[3:4])
        raise Busy(
            f"A step of `dvc repro` is still at work here (process {process.pid}: {step}). "
            f"Wait until it ends, or stop it with `kill {process.pid}`, and run again."
        )


def mend_after_a_kill(root: Path) -> None:
    """Delete a list of DVC's file locks that a kill tore: it names nobody who lives. Call it holding our own lock."""
    held = root / FILE_LOCKS
    try:
        json.loads(held.read_text(encoding="utf-8"))
    except FileNotFoundError:
        pass
    except ValueError:
        held.unlink()
