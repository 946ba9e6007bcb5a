"""Runs a module in a process of its own, which dies with this one and keeps the run's lock while it lives."""

import ctypes
import hashlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from flows.progress import Shown
from flows.signals import end_if_told
from tasks.errors import BadInput, Busy, Corrupt, OutOfReach, PerennialError
from tasks.litter import is_litter

CODE = "tasks"
PR_SET_PDEATHSIG = 1  # prctl(2): the signal to get when the parent dies; else kill -9 leaves a second writer
ERRORS: dict[int, type[PerennialError]] = {error.exit_code: error for error in (BadInput, Corrupt, OutOfReach, Busy)}


_alive: set[subprocess.Popen[str]] = set()


class StepFailed(PerennialError):
    """A step's own process ended with an error that is nobody's mistake in the data."""


def reason_of_failure(argv: list[str], root: Path, lock: int | None, module: str, shown: Shown) -> str | None:
    """Run a module that prints `{"step": ..., "loss": ...}` now and then; the reason if it fails.

    Raises:
        OutOfReach: a disk or a folder: whatever came next would fail, too.
    """

    def on_line(line: str) -> None:
        try:
            said = json.loads(line)
            shown.log(said["step"], {} if said["loss"] is None else {"loss": said["loss"]})
        except (ValueError, TypeError, KeyError):  # a library's talk
            return

    try:
        run_isolated(argv, root, lock, module, on_line)
    except OutOfReach:
        raise
    except PerennialError as error:
        return str(error)
    return None


def run_isolated(
    argv: list[str],
    root: Path,
    lock: int | None,
    module: str = CODE,
    on_line: Callable[[str], None] | None = None,
    environment: dict[str, str] | None = None,
) -> None:
    """Run a step, or another module, in a process of its own and wait for it.

    Args:
        argv: the step and its paths, as in dvc.yaml.
        root: the project's folder.
        lock: the file descriptor of the run's lock; None on another machine than the run's.
        module: what `python -m` is to run.
        on_line: is given each line that it prints.
        environment: variables that it gets besides this process's own.

    Raises:
        PerennialError: the step failed; its own sentence, with its own exit code.
    """
    end_if_told()
    with tempfile.TemporaryFile("w+") as complaints:  # not a pipe: nobody reads it before the end
        child = subprocess.Popen(
            [sys.executable, "-m", "flows.isolation", str(os.getpid()), module, *argv],
            cwd=root,
            env=os.environ | (environment or {}),
            stdout=subprocess.PIPE if on_line else subprocess.DEVNULL,
            stderr=complaints,
            text=True,
            pass_fds=() if lock is None else (lock,),
        )
        _alive.add(child)
        try:
            for line in child.stdout or ():
                if on_line:
                    on_line(line)
            child.wait()
        except BaseException:  # Ctrl-C: leave no second writer behind
            child.kill()
            child.wait()
            raise
        finally:
            _alive.discard(child)
        complaints.seek(0)
        complaint = complaints.read()
    if child.returncode:
        last = (complaint.strip().splitlines() or [f"It ended with code {child.returncode}."])[-1]
        error = ERRORS.get(child.returncode)
        raise error(last) if error else StepFailed(f"The step '{argv[0]}' failed. {last}" if module == CODE else last)


def end_all() -> None:
    """Kill what other threads wait for in `run_isolated`: Ctrl-C reaches the main thread only."""
    for child in list(_alive):
        child.kill()


def code_of(root: Path) -> dict[Path, str]:
    """SHA-256 of every module of the steps."""
    modules = (path for path in (root / CODE).rglob("*.py") if path.is_file() and not is_litter(path.name))
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in modules}


def edited(root: Path, known: dict[Path, str], deps: list[Path]) -> bool:
    """Whether a module among `deps`, files or folders, is no longer what `known` says."""
    now = code_of(root)
    changed = {path for path in now.keys() | known.keys() if now.get(path) != known.get(path)}
    return any(path.is_relative_to(dep) for path in changed for dep in deps)


def main() -> None:
    """In the child: tie its life to the parent's, then be `python -m MODULE ...`."""
    parent, module = int(sys.argv.pop(1)), sys.argv.pop(1)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        raise SystemExit(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
