"""The reference: stage 1 without any method, at the same number of steps."""

from pathlib import Path

from tasks.params import Keep, Stage1
from tasks.stage1 import stage1
from tasks.steps import Log


def naive(settings: Stage1, seed: int, examples: Path, previous: Path, out: Path, scratch: Path, log: Log) -> None:
    """Train as stage 1 does, on the slice's own rows alone."""
    stage1(settings, (), Keep(rows="none"), seed, examples, previous, out, scratch, log, remember=False)
