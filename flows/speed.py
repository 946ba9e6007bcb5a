"""`perennial speed`: what each way of training takes here, one after another and again, in turn."""

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from flows.isolation import reason_of_failure
from flows.locks import only_run
from flows.progress import Progress
from flows.walk import bring_examples
from tasks import artifact
from tasks.errors import PerennialError
from tasks.params import PARAMS, Params, load_params
from tasks.reporting.speed import print_speed
from tasks.sources.fetching import source_of
from tasks.speed import FOUND, PLAIN, WAYS, why_not

EXAMPLES, TABLE = Path("data/examples"), Path("reports/speed.json")
MODULE = "tasks.speed"


class NoneMeasured(PerennialError):
    """The plain way fails, and so there is nothing to compare with."""


def measure_speed(root: Path, console: Console, model: str | None, steps: int, rounds: int) -> None:
    """Train a model for a moment in every way, each in a process of its own; write and print what they took.

    Args:
        root: the project's folder.
        console: where to print.
        model: a folder, GGUF file, name on the hub or short name of `perennial fetch-model`; None: params.yaml's.
        steps: of each fine-tune.
        rounds: so often every way is taken, in turn: the machine may be busier now than then.

    Raises:
        BadInput: there is no such model.
        Busy: another command is at work.
        NoneMeasured: the plain way fails.
    """
    params = load_params(root / PARAMS)
    source = source_of(model) if model else params.pretrain.model
    oldest = next(iter(params.timeline))
    reasons = {name: reason for name, way in WAYS.items() if (reason := why_not(way))}
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    with Progress(console) as progress, only_run(root, "speed") as lock, TemporaryDirectory() as folder:
        bring_examples(root, [oldest], lock, progress)
        for turn in range(rounds):
            for name in WAYS:
                if name in reasons:
                    continue
                out = Path(folder) / f"{turn} {name}"
                argv = [name, source, str(EXAMPLES / oldest), str(out), str(steps)]
                with progress.step(f"speed@{name}") as shown:
                    shown.begin("", steps)
                    reason = reason_of_failure(argv, root, lock, MODULE, shown)
                    shown.outcome = "failed" if reason else "ran"
                if reason and name == PLAIN:
                    raise NoneMeasured(reason)
                if reason:
                    reasons[name] = reason
                else:
                    measured[name].append(artifact.read_json(out / FOUND))
    found = _found(params, source, steps, rounds, measured, reasons)
    (root / TABLE).parent.mkdir(exist_ok=True)
    artifact.write_file(root / TABLE, artifact.json_text(found).encode())
    print_speed(console, found)
    console.print(f"More: {TABLE}.", highlight=False)


def _found(
    params: Params,
    source: str,
    steps: int,
    rounds: int,
    measured: dict[str, list[dict[str, Any]]],
    reasons: dict[str, str],
) -> dict[str, Any]:
    ways = []
    for name, way in WAYS.items():
        about: dict[str, Any] = {"name": name, "setting": way.setting}
        if turns := measured[name]:
            about["seconds"] = statistics.median(second for turn in turns for second in turn["seconds"][1:])
            about["peak_memory_mb"] = max(turn["peak_memory_mb"] for turn in turns)
            about["loss"] = turns[-1]["loss"]
        else:
            about["why_not"] = reasons[name]
        ways.append(about)
    return {
        "model": source, "steps": steps, "rounds": rounds, "threads": params.threads,
        "batch_tokens": params.stage1.batch_tokens, "ways": ways,
    }  # fmt: skip
