"""`perennial ages`: every slice's model over every slice's texts, so that it is seen how fast their language ages."""

import hashlib
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from flows.isolation import run_isolated
from flows.locks import only_run
from flows.progress import Progress
from tasks import artifact, closure
from tasks.errors import BadInput
from tasks.params import PARAMS, Params, load_params
from tasks.reporting.ages import draw_ages, print_ages
from tasks.scoring.ages import curve, months_of

WORK, MODELS, EXAMPLES = Path(".perennial/ages"), Path("models"), Path("data/examples")
TABLE, PLOT = Path("reports/ages.json"), Path("reports/ages.png")
MODULE = "tasks.ages"


def measure_ages(root: Path, console: Console) -> None:
    """Ask what is not known yet, each model in a process of its own; write the table and the curve, and print them.

    Raises:
        BadInput: slices are domains, of which none is later; a model is missing; or there are no texts to look at.
        Busy: another command is at work.
    """
    params = load_params(root / PARAMS)
    names = [*params.timeline]
    if params.kind != "time":
        raise BadInput("params.yaml: the slices are domains, of which none is later than another: they don't age.")
    for name in names:
        if not (root / MODELS / name / "lm" / artifact.MANIFEST).is_file():
            raise BadInput(f"{MODELS / name / 'lm'} is missing. `perennial run` makes it.")
    rows = []
    with Progress(console) as progress, only_run(root, "ages") as lock:
        for name in names:
            out = WORK / f"{_key(root, params, name, names[-1])}.json"
            if not (root / out).is_file():
                with progress.step(f"ages@{name}") as shown:
                    argv = [str(MODELS / name / "lm"), str(EXAMPLES / names[-1]), str(out)]
                    run_isolated(argv, root, lock, MODULE)
                    shown.outcome = "ran"
            rows.append(artifact.read_json(root / out))
    perplexity = [[row[name] for name in names] for row in rows]
    found: dict[str, Any] = {
        "slices": names, "perplexity": perplexity, "curve": curve(names, perplexity),
        "unit": "slices" if None in map(months_of, names) else "months",
    }  # fmt: skip
    if not found["curve"]:
        raise BadInput(
            "No slice after the first has texts or statements that are held out: there is nothing to look at. Give "
            "slices a texts.jsonl (docs/formats.md)."
        )
    (root / TABLE).parent.mkdir(exist_ok=True)
    artifact.write_file(root / TABLE, artifact.json_text(found).encode())
    draw_ages(found, root / PLOT)
    print_ages(console, found)
    console.print(f"More: {PLOT}, {TABLE}.", highlight=False)


def _key(root: Path, params: Params, name: str, newest: str) -> str:
    """What a row of the table is made of: the model, the texts, settings and code."""
    sums = [artifact.manifest_sum(root / MODELS / name / "lm")]
    sums += [artifact.manifest_sum(root / EXAMPLES / each) for each in params.timeline]
    settings = [
        newest,
        params.seed,
        params.threads,
        params.precision,
        params.evaluate.rows,
        params.evaluate.batch_tokens,
    ]
    made_of = [sums, settings, closure.code_sum(MODULE)]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:24]
