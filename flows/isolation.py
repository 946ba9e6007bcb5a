"""Runs a step in a process of its own, which dies with this one and keeps the run's lock while it lives."""

import ctypes
import hashlib
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

from tasks.errors import BadInput, Busy, Corrupt, PerennialError

CODE = "tasks"
PR_SET_PDEATHSIG = 1  # prctl(2): the signal to get when the parent dies; else kill -9 leaves a second writer
ERRORS: dict[int, type[PerennialError]] = {error.exit_code: error for error in (BadInput, Corrupt, Busy)}


class StepFailed(PerennialError):
    """A step's own process ended with an error that is nobody's mistake in the data."""


def run_isolated(argv: list[str], root: Path, lock: int) -> None:
    """Run a step in a process of its own and wait for it.

    Args:
        argv: the step and its paths, as in dvc.yaml.
        root: the project's folder.
        lock: the file descriptor of the run's lock.

    Raises:
        PerennialError: the step failed; its own sentence, with its own exit code.
    """
    step = subprocess.Popen(
        [sys.executable, "-m", "flows.isolation", str(os.getpid()), *argv],
        cwd=root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=(lock,),
    )
    try:
        _, complaint = step.communicate()
    except BaseException:  # Ctrl-C: leave no second writer behind
        step.kill()
        step.wait()
        raise
    if step.returncode:
        last = (complaint.strip().splitlines() or [f"It ended with code {step.returncode}."])[-1]
        error = ERRORS.get(step.returncode)
        raise error(last) if error else StepFailed(f"The step '{argv[0]}' failed. {last}")


def code_of(root: Path) -> dict[Path, str]:
    """SHA-256 of every module of the steps."""
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in (root / CODE).rglob("*.py")}


def edited(root: Path, known: dict[Path, str], deps: list[Path]) -> bool:
    """Whether a module among `deps`, files or folders, is no longer what `known` says."""
    now = code_of(root)
    changed = {path for path in now.keys() | known.keys() if now.get(path) != known.get(path)}
    return any(path.is_relative_to(dep) for path in changed for dep in deps)


def main() -> None:
    """In the child: tie its life to the parent's, then be `python -m tasks STEP ...`."""
    parent = int(sys.argv.pop(1))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        raise SystemExit(1)
    runpy.run_module("tasks", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
