"""Keeps what comparisons measured, and makes the tables of docs: `python -m benchmarks.measured`.

A comparison of all entries and seeds takes days of two cores, and may be made in pieces, on several machines. `collect
PROJECT TIMELINE` takes what PROJECT/reports/methods.json says into docs/measured/TIMELINE.csv, a row for each entry and
seed; a newer row takes an older one's place. `table TIMELINE` prints a Markdown table of it.
"""

import json
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from tasks.artifact import write_file
from tasks.errors import BadInput, PerennialError

MEASURED = Path(__file__).parents[1] / "docs/measured"
SHARES = {"accuracy": "all", "paraphrase_accuracy": "reworded", "everyday_accuracy": "everyday", "new": "new",
          "updated": "updated", "retained": "retained", "stale": "stale"}  # fmt: skip
COST = {"tflops": "TFLOP", "seconds": "s"}
COLUMNS = ["entry", "seed", "date", *SHARES, *COST, "stored_bytes"]

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def collect(project: Path, timeline: str, folder: Annotated[Path, typer.Option(hidden=True)] = MEASURED) -> None:
    """Take over what a project's comparison says."""
    path = project / "reports/methods.json"
    if not path.exists():
        raise BadInput(f"{path} is missing. Run `perennial methods` in {project}.")
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["entries"]
    rows = [
        {"entry": name, "seed": int(seed), "date": date.today().isoformat(), **each["metrics"]}
        for name, entry in told.items()
        for seed, each in entry["seeds"].items()
    ]
    known = measured(timeline, folder)
    every = pd.concat([known, pd.DataFrame(rows)[COLUMNS]] if len(known) else [pd.DataFrame(rows)[COLUMNS]])
    every = every.drop_duplicates(["entry", "seed"], keep="last").sort_values(["entry", "seed"])
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / f"{timeline}.csv", every.to_csv(index=False, float_format="%.6g").encode())
    print(f"{len(rows)} rows of {path}; {len(every)} in {folder / timeline}.csv")


@app.command()
def table(timeline: str, folder: Annotated[Path, typer.Option(hidden=True)] = MEASURED) -> None:
    """Print the table of a timeline, the best entry first: means over the seeds, and their standard deviation."""
    rows = measured(timeline, folder)
    if not len(rows):
        raise BadInput(f"{folder / timeline}.csv is missing or empty. Collect a comparison first.")
    print(f"| entry | seeds | {' | '.join([*SHARES.values(), *COST.values(), 'kB'])} |")
    print("|---" * (len(SHARES) + len(COST) + 3) + "|")
    groups = sorted(rows.groupby("entry"), key=lambda group: -group[1]["accuracy"].mean())
    for name, group in groups:
        cells = [_mean(group[key], 100, 1) for key in SHARES] + [_mean(group[key], 1, 1) for key in COST]
        print(f"| {name} | {len(group)} | {' | '.join([*cells, _mean(group['stored_bytes'], 1e-3, 0)])} |")


def measured(timeline: str, folder: Path = MEASURED) -> pd.DataFrame:
    """What is kept of a timeline, a row for each entry and seed; empty if there is nothing."""
    path = folder / f"{timeline}.csv"
    return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=COLUMNS)


def _mean(values: "pd.Series[float]", scale: float, digits: int) -> str:
    known = scale * values.dropna()
    if known.empty:
        return "-"
    spread = f" ± {known.std():,.{digits}f}" if len(known) > 1 and digits else ""
    return f"{known.mean():,.{digits}f}{spread}"


if __name__ == "__main__":
    try:
        app()
    except PerennialError as error:
        raise SystemExit(str(error)) from error
