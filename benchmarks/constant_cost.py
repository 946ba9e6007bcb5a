"""Does slice 40 cost what slice 5 cost? `python -m benchmarks.constant_cost FOLDER`

Writes a project of 40 equal slices of invented facts into FOLDER, takes it through the pipeline's own steps in one
process, and compares seconds, memory and stored bytes of slice 40 with those of slice 5, and what the model knows.
Each figure is the median of three slices (4 to 6, 38 to 40): one slice's seconds are noise. In the end slices 5 and 40
are learnt in turn, as a machine's speed changes within the hour. A second start with the same folder measures only what
is missing. `--settings '{"width": 1024}'` are of stage2.solved.
"""

import json
import os
import re
import shutil
import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import typer

from benchmarks.timelines import synthetic
from tasks import artifact
from tasks.errors import PerennialError

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

SLICES, NEW, UPDATED = 40, 20, 4
STEPS = 150  # of stage 1, also for base and first slice
TEST_ROWS = 300  # of each kind, whatever the number of slices
EARLY, LATE = (4, 5, 6), (38, 39, 40)
ROUNDS = 3
MEASURED = "cost.json"
KNOWN = {
    "accuracy": "all valid facts",
    "paraphrase_accuracy": "the same reworded",
    "everyday_accuracy": "the same as people type",
}
GREEN, BLUE, GREY = "#3f8f68", "#2763a5", "#6b7885"


def run(
    folder: Path,
    plot: Path | None = None,
    new: int = NEW,
    updated: int = UPDATED,
    settings: Annotated[str, typer.Option(help="Of stage2.solved, as JSON.")] = "{}",
) -> None:
    """Measure, print the ratios, and draw them if a place for the plot is named."""
    if not (folder / "params.yaml").exists():
        synthetic(SLICES, folder, new=new, updated=updated)
        _smaller(folder / "params.yaml", json.loads(settings))
    here = Path.cwd()
    os.chdir(folder)
    try:
        told = [_slice(number) for number in range(1, SLICES + 1)]
        in_turn = [[_again(number) for number in (EARLY[1], LATE[-1])] for _ in range(ROUNDS)]
    finally:
        os.chdir(here)
    for key, name in (
        ("seconds", "seconds"),
        ("learning_seconds", "seconds of stage 1 and 2 alone"),
        ("peak_memory_mb", "peak memory, MiB"),
        ("model_bytes", "bytes of the model"),
        ("kept_bytes", "bytes kept for the next slice, old rows included"),
    ):
        early, late = (statistics.median(told[number - 1][key] for number in group) for group in (EARLY, LATE))
        print(f"{name:50s} slice 5: {early:12,.1f}   slice 40: {late:12,.1f}   ratio {late / early:.3f}")
    for key, name in KNOWN.items():
        early, late = (statistics.median(told[number - 1][key] for number in group) for group in (EARLY, LATE))
        print(f"{name:50s} slice 5: {100 * early:11.1f}%   slice 40: {100 * late:11.1f}%   "
              f"difference {100 * (late - early):+.1f} points")  # fmt: skip
    early, late = map(statistics.median, zip(*in_turn, strict=True))  # the first one imports, too
    print(f"{'seconds of stage 1 and 2, in turn':50s} slice 5: {early:12,.1f}   slice 40: {late:12,.1f}   "
          f"ratio {late / early:.3f}")  # fmt: skip
    if plot:
        draw(told, plot)


def _again(number: int) -> float:
    """Seconds of processor time to learn a slice once more."""
    name, before = f"s{number:02}", f"s{number - 1:02}"
    examples, out = f"--examples data/examples/{name}", Path("models/again")
    started = time.process_time()
    _run(f"stage1 {examples} --previous models/{before}/lm --out {out}/stage1")
    _run(f"stage2 {examples} --stage1 {out}/stage1 --out {out}/lm")
    seconds = time.process_time() - started
    shutil.rmtree(out)
    return seconds


def _smaller(path: Path, solved: dict[str, Any]) -> None:
    text = path.read_text(encoding="utf-8")
    for old, new in (
        ("  steps: 400 ", f"  steps: {STEPS} "),
        ("  rows: 6000 ", f"  rows: {TEST_ROWS} "),
        ("  samples: 12 ", "  samples: 1 "),
        ("threads: 2 ", "threads: 1 "),  # with one, what else runs on the machine changes little
    ):
        assert old in text, old
        text = text.replace(old, new)
    for name, value in solved.items():
        text, found = re.subn(rf"^    {name}: \S+", f"    {name}: {json.dumps(value)}", text, flags=re.M)
        assert found == 1, name
    path.write_text(text, encoding="utf-8")


def _slice(number: int) -> dict[str, Any]:
    """Take one slice through its steps, and return what it cost and what its model knows."""
    name = f"s{number:02}"
    done = Path("reports/cost") / name / MEASURED
    if done.exists():
        return json.loads(done.read_text())
    from tasks.comparison import stored_bytes
    from tasks.lm.cost import measured
    from tasks.params import load_params
    from tasks.steps import run_step

    before = f"s{number - 1:02}" if number > 1 else "base"
    examples = f"--examples data/examples/{name}"
    if number == 1:
        _run("origin --relations data/raw/relations.yaml --out data/examples/base")
    _run(f"dataset --raw data/raw/{name} --previous data/examples/{before} --out data/examples/{name}")
    if number == 1:
        _run(f"pretrain {examples} --out models/base/lm")
    steps = (
        f"stage1 {examples} --previous models/{before}/lm --out models/{name}/stage1",
        f"stage2 {examples} --stage1 models/{name}/stage1 --out models/{name}/lm",
        f"evaluate {examples} --model models/{name}/lm --out reports/evaluation/{name}",
    )
    learning = measured(lambda: [run_step(step.split(), live=False) for step in steps[:-1]])
    cost = measured(lambda: run_step(steps[-1].split(), live=False))
    scores = artifact.read_json(Path("reports/evaluation") / name / "scores.json")
    model = Path("models") / name / "lm"
    told = {
        "seconds": learning["seconds"] + cost["seconds"],
        "learning_seconds": learning["seconds"],
        "peak_memory_mb": max(learning["peak_memory_mb"], cost["peak_memory_mb"]),
        **{key: scores["valid"][key] for key in KNOWN},
        "buckets": (scores.get("memory") or {}).get("buckets"),
        "new": scores["categories"]["new"],
        "model_bytes": sum(path.stat().st_size for path in model.rglob("*") if path.is_file()),
        "kept_bytes": stored_bytes(load_params().keep, Path("data/examples") / name, model.parent),
    }
    artifact.write_file(done, json.dumps(told).encode())
    print(f"{name}  {told['seconds']:6.1f} s   {100 * told['accuracy']:5.1f} % of all valid facts", flush=True)
    return told


def _run(line: str) -> None:
    from tasks.steps import run_step

    run_step(line.split(), live=False)


def draw(told: list[dict[str, Any]], path: Path) -> None:
    """Seconds, memory and accuracy over the slices, beside one another."""
    numbers = range(1, len(told) + 1)
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.1), layout="constrained")
    shown = (
        ("Seconds per slice", "seconds", 1.0, BLUE),
        ("Peak memory, MiB", "peak_memory_mb", 1.0, GREY),
        ("All valid facts, answered right (%)", "accuracy", 100.0, GREEN),
    )
    for each, (title, key, scale, colour) in zip(axes, shown, strict=True):
        values = [scale * row[key] for row in told]
        each.plot(numbers, values, color=colour, linewidth=2)
        each.set(title=title, xlabel="slice", ylim=(0, 1.15 * max(values)), xlim=(1, len(told)))
        each.spines[["top", "right"]].set_visible(False)
        each.grid(axis="y", alpha=0.3)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    try:
        typer.run(run)
    except PerennialError as error:
        raise SystemExit(str(error)) from error
