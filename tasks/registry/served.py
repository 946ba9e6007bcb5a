"""Asks a stored version as a server would: in a process of its own, by its own code, from what MLflow keeps of it."""

import json
import os
import subprocess
import sys
from typing import Any

from tasks.errors import Corrupt
from tasks.registry.versions import SCORES, SLICE_TAG, measured_of

LEAST = 0.5  # of the answers must be what they were when they were measured; another precision changes one now and then
PATIENCE_SECONDS = 900.0  # a model of some billions of parameters on a CPU
ANSWERS = "answers: "
PROGRAM = f"""
import json, sys
import mlflow
said = mlflow.pyfunc.load_model(sys.argv[1]).predict(json.load(sys.stdin))
print({ANSWERS!r} + json.dumps(list(said)))
"""


def refuse_unservable(version: Any, most: int) -> None:
    """Load a version as a server would, and ask it some of the questions whose answers were shown in its scores.

    Args:
        version: as MLflow has it.
        most: questions at most; 0: it is not loaded.

    Raises:
        Corrupt: it can't be loaded, or it answers otherwise than was measured.
    """
    if not most:
        return
    samples = (measured_of(version, SCORES) or {}).get("samples", [])[:most]
    questions = [sample["prompt"] for sample in samples] or ["Hello."]
    told = f"Version {version.version} ({version.tags.get(SLICE_TAG, '')}) does not become champion"
    try:
        said = answers_of(str(version.source), questions)
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        raise Corrupt(f"{told}: as MLflow stores it, it can't be served ({error}).") from error
    same = sum(answer == sample["answer"] for answer, sample in zip(said, samples, strict=False))
    if len(said) != len(questions) or same < LEAST * len(samples):
        raise Corrupt(
            f"{told}: as MLflow stores it, it answers {same} of {len(samples)} questions as it was measured "
            f"({questions[0]!r}: {said[0] if said else None!r})."
        )


def answers_of(source: str, questions: list[str]) -> list[str]:
    """What a stored model says to each question.

    Raises:
        SubprocessError: the process failed, with its last line, or took too long.
        OSError, ValueError: it could not be started, or said something else.
    """
    import mlflow

    own = {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(), "MLFLOW_REGISTRY_URI": mlflow.get_registry_uri()}
    around = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | own
    run = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, source],
        input=json.dumps(questions), capture_output=True, text=True, env=around, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    if run.returncode:
        lines = run.stderr.strip().splitlines() or [f"exit code {run.returncode}"]
        raise subprocess.SubprocessError(lines[-1])
    answers = [line for line in run.stdout.splitlines() if line.startswith(ANSWERS)]
    said: list[str] = json.loads(answers[-1].removeprefix(ANSWERS)) if answers else []
    return said
