"""`perennial select`: candidates for `pretrain.model`, each tried by the same short fine-tune and questions."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from flows.isolation import reason_of_failure
from flows.locks import only_run
from flows.progress import Progress, Shown
from flows.walk import bring_examples
from tasks import artifact, closure
from tasks.errors import BadInput, Corrupt, PerennialError
from tasks.params import PARAMS, SMALL, Params, load_params
from tasks.reporting.selection import print_selection, render_selection
from tasks.scoring.choice import choose
from tasks.selection import TRIAL
from tasks.sources.fetching import source_of
from tasks.sources.hub import folder_of

WORK = Path(".perennial/selection")
EXAMPLES, GENERAL = Path("data/examples"), Path("data/raw/general")
TABLE, PAGE = Path("reports/selection.json"), Path("reports/selection.html")
MODULE = "tasks.selection"


class NothingTried(PerennialError):
    """No candidate could be tried; each for a reason that was told."""


def select_models(root: Path, console: Console, models: list[str], steps: int, questions: int) -> None:
    """Try each model, in a process of its own, and write and print what they took, said, and which one to take.

    One that was tried with the same settings, data and code is not tried again.

    Args:
        root: the project's folder.
        console: where to print.
        models: folders, GGUF files, names on the hub, or short names of `perennial fetch-model`.
        steps: of the fine-tune.
        questions: that each is asked.

    Raises:
        BadInput: a candidate is named `small`, which is built here.
        Busy: another command is at work.
        NothingTried: all failed.
    """
    params = load_params(root / PARAMS)
    if SMALL in models:
        raise BadInput(
            f"'{SMALL}' is built from a project's own data: there is nothing to try. Name pretrained models."
        )
    oldest = next(iter(params.timeline))
    trials: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    with Progress(console) as progress, only_run(root, "select") as lock:
        bring_examples(root, [oldest], lock, progress)
        for model in dict.fromkeys(models):
            out = root / WORK / _key(root, params, oldest, model, steps, questions)
            if not _is_done(out):
                with progress.step(f"select@{_short(model)}") as shown:
                    reason = _tried(root, lock, shown, source_of(model), oldest, out, steps, questions)
                    shown.outcome = "failed" if reason else "ran"
                if reason:
                    failed[model] = reason
                    console.print(f"[red]{escape(f'{model}: {reason}')}[/red]", highlight=False, soft_wrap=True)
                    continue
            trials.append(artifact.read_json(out / TRIAL) | {"model": model})
    if not trials:
        raise NothingTried("None of the models could be tried.")
    chosen, why = choose(trials)
    found = {"slice": oldest, "steps": steps, "trials": trials, "failed": failed, "chosen": chosen, "why": why}
    (root / TABLE).parent.mkdir(exist_ok=True)
    artifact.write_file(root / TABLE, artifact.json_text(found).encode())
    artifact.write_file(root / PAGE, render_selection(found).encode())
    print_selection(console, found)
    console.print(f"More: {PAGE}, {TABLE}.", highlight=False)


def _tried(
    root: Path, lock: int, shown: Shown, source: str, oldest: str, out: Path, steps: int, questions: int
) -> str | None:
    """Try one; the reason if that failed."""
    shutil.rmtree(out, ignore_errors=True)
    shown.begin("", steps)

    try:
        folder = folder_of(source, "MODEL")
    except BadInput as error:
        return str(error)
    argv = [str(folder), str(EXAMPLES / oldest), str(GENERAL), str(out.relative_to(root)), str(steps), str(questions)]
    return reason_of_failure(argv, root, lock, MODULE, shown)


def _short(model: str) -> str:
    return Path(model).name or model


def _key(root: Path, params: Params, oldest: str, model: str, steps: int, questions: int) -> str:
    """What a trial is made of: the model's files, settings, data and code."""
    folder = Path(source_of(model)).expanduser()
    files = [folder] if folder.is_file() else sorted(path for path in folder.glob("*") if path.is_file())
    weights = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    settings = [
        params.seed, params.threads, params.precision, params.stage1.model_dump(mode="json"), params.dataset.languages,
        params.evaluate.batch_tokens,
    ]  # fmt: skip
    general = sorted(artifact.file_sum(path) for path in (root / GENERAL).glob("*.txt"))
    made_of = [
        model, weights, settings, artifact.manifest_sum(root / EXAMPLES / oldest), general, steps, questions,
        closure.code_sum(MODULE),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:24]


def _is_done(out: Path) -> bool:
    try:
        return bool(artifact.verified(out))
    except (BadInput, Corrupt):
        return False
