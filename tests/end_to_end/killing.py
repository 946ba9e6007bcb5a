"""Kills a run again and again, starts it again each time, and compares every byte with a run that was left alone.

    python -m tests.end_to_end.killing FOLDER [KILLS] [SEED] [SLICES]

Each attempt is a child of this process, forked after the libraries are imported, so that an attempt costs no
import; it walks the graph as `perennial run` does. SIGKILL falls at a random moment.
"""

import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from tasks.artifact import file_sum
from tests.end_to_end.project import make_project, set_params

STEPS = 60
LONGEST = 6.0  # seconds that an attempt lives at most


def main(folder: Path, kills: int, seed: int, slices: int) -> int:
    """Print what was killed where; return 0 if all bytes are the same."""
    import tests.warm_libraries  # noqa: F401

    whole, killed = _project(folder / "whole", slices, seed), _project(folder / "killed", slices, seed)
    started = time.monotonic()
    assert _attempt(whole, None) == "done"
    alone = time.monotonic() - started
    chance = random.Random(seed)
    stages: dict[str, int] = {}
    done = 0
    while done < kills:
        outcome = _attempt(killed, chance.uniform(0.1, min(LONGEST, max(1.0, alone / 3))))
        if outcome == "done":  # there was nothing left to kill: begin anew, at a random depth
            _forget(killed, chance)
            continue
        done += 1
        stages[outcome] = stages.get(outcome, 0) + 1
    assert _attempt(killed, None) == "done"
    expected, found = sums(whole), sums(killed)
    different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    leftovers = [str(path) for path in killed.rglob("*.partial")]
    print(f"{done} kills, in {', '.join(f'{stage} ({count})' for stage, count in sorted(stages.items()))}")
    print(f"{len(expected)} files compared, {len(different)} different: {different[:5]}; leftovers: {leftovers[:5]}")
    return 1 if different or leftovers or not expected else 0


def _project(root: Path, slices: int, seed: int) -> Path:
    """Two slices and the naive reference, or the first slice alone; solved, or replayed where the seed is odd."""
    make_project(root, STEPS, replay=bool(seed % 2))
    if slices == 1:
        set_params(root, timeline={"2020": {"previous": "base"}}, reference={})
    return root


def _attempt(root: Path, lifetime: float | None) -> str:
    """Walk the graph in a child and kill it after `lifetime` seconds; "done", or the stage that it was in."""
    child = os.fork()
    if child == 0:
        os.setsid()
        with suppress(BaseException):
            _walk(root)
            os._exit(0)
        os._exit(1)
    give_up = time.monotonic() + (lifetime if lifetime is not None else 600.0)
    while time.monotonic() < give_up:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert status == 0, f"an attempt failed with status {status}; see {root / 'attempt.log'}"
            return "done"
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    log = (root / "attempt.log").read_text().split()
    return log[-1] if log else "the beginning"


def _walk(root: Path) -> None:
    os.chdir(root)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{root / 'mlflow.db'}"
    from flows import walk
    from flows.progress import Progress

    update = walk.update_stage

    with (root / "attempt.log").open("w") as log, Progress(Console(file=log, quiet=True)) as progress:
        os.dup2(log.fileno(), 2)

        def noted(opened, stage, *rest):  # type: ignore[no-untyped-def]
            log.write(f" {stage.addressing}")
            log.flush()
            return update(opened, stage, *rest)

        walk.update_stage = noted
        with walk.opened(root, progress) as run:
            walk.walk(run)


def _forget(root: Path, chance: random.Random) -> None:
    """Throw away a random stage's outputs and DVC's memory of them, so that there is work again."""
    import shutil

    shutil.rmtree(root / ".dvc/cache", ignore_errors=True)
    victim = chance.choice(sorted((root / "models").glob("*/*")) + sorted((root / "data/examples").glob("20*")))
    shutil.rmtree(victim)


def sums(root: Path) -> dict[str, str]:
    """All that the steps built, but for measured seconds and what is drawn from them."""
    built = [
        path
        for folder in ("data/examples", "data/pairs", "models", "reports/evaluation")
        for path in (root / folder).rglob("*")
    ]
    return {str(path.relative_to(root)): file_sum(path) for path in built if path.is_file()}


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[2:]]
    raise SystemExit(main(Path(sys.argv[1]).resolve(), *(numbers + [20, 1, 2][len(numbers) :])))
