import subprocess
import sys
from pathlib import Path

import pytest


def sweep(folder: Path, *numbers: int) -> subprocess.CompletedProcess[str]:
    """In a process of its own: it forks, which a process whose threads have begun must not."""
    command = [sys.executable, "-m", "tests.end_to_end.killing", str(folder), *map(str, numbers)]
    return subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)


def test_a_run_killed_six_times_ends_with_the_same_bytes(tmp_path):
    """One slice; `make prove` has two, and three hundred kills."""
    done = sweep(tmp_path, 6, 1, 1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("6 kills")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_many_kills_end_with_the_same_bytes(tmp_path, seed):
    done = sweep(tmp_path, 100, seed)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
