"""A preset through the default timeline, left alone and killed again and again: what it scores, holds, and whether the
bytes are the same.

    python -m tests.real.proving FOLDER [PRESET] [KILLS] [SEED]

FOLDER keeps what is finished: the same command goes on where it was stopped. Each run is `perennial run` in a process
group of its own; SIGKILL falls on all of it at a random moment.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.end_to_end.killing import sums
from tests.end_to_end.project import ROOT

SOONEST, LATEST = 5.0, 90.0  # seconds after which a run is killed
MEMORY_MB = 4096
LEAST = 0.95  # of all that is true after the last slice


def main(folder: Path, preset: str = "smollm2-135m", kills: str = "12", seed: str = "1") -> int:
    """Print figures; return 0 if the bytes are the same, and scores and memory are as promised."""
    whole, killed = (_project(folder / name) for name in ("whole", "killed"))
    assert _attempt(whole, preset, None) == 0, f"see {whole / 'run.log'}"
    chance, fell = random.Random(int(seed)), 0
    while fell < int(kills) and _attempt(killed, preset, chance.uniform(SOONEST, LATEST)) != 0:
        fell += 1
    assert _attempt(killed, preset, None) == 0, f"see {killed / 'run.log'}"
    expected, found = sums(whole), sums(killed)
    different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    print(f"killed {fell} times: {len(expected)} files compared, {len(different)} different {different[:5]}")
    memory, scores = _peak_memory_mb(whole), _last_scores(whole)
    print(f"peak memory of a step: {memory:.0f} MB")
    print(f"after the last slice: {json.dumps(scores['valid'])}")
    return 0 if not different and expected and memory < MEMORY_MB and scores["valid"]["accuracy"] >= LEAST else 1


def _project(root: Path) -> Path:
    """This repository's files that git knows, as a user would clone them."""
    if not root.exists():
        partial = root.with_name(f".{root.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, partial / name)
        subprocess.run(["git", "init", "-q"], cwd=partial, check=True)
        partial.rename(root)
    return root


def _attempt(root: Path, preset: str, lifetime: float | None) -> int | None:
    """Run until the end or a kill; the exit code, None if it was killed."""
    with (root / "run.log").open("a") as log:
        run = subprocess.Popen(
            [sys.executable, "-m", "flows.commands", "run", "--preset", preset],
            cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            return run.wait(lifetime)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            time.sleep(1.0)  # until the last of its children has let go of the lock
            return None


def _peak_memory_mb(root: Path) -> float:
    return max(json.loads(path.read_text())["peak_memory_mb"] for path in (root / "reports/cost").rglob("*.json"))


def _last_scores(root: Path) -> dict[str, Any]:
    newest = sorted((root / "reports/evaluation").glob("2*"))[-1]
    return json.loads((newest / "scores.json").read_text())


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]).resolve(), *sys.argv[2:]))
