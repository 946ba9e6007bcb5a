"""Tunes the strengths of methods that keep no old row, on invented facts: `python -m benchmarks.strengths FOLDER`.

Writes a project of four slices whose comparison has an entry for each method and strength. `perennial methods` in
FOLDER does the work, resumably, and the same command again says which strength of each ended best. The timeline of the
table of methods has other facts, relations and languages.
"""

import json
import re
from pathlib import Path
from typing import Any

import typer
import yaml

from benchmarks.timelines import synthetic
from tasks.artifact import write_file
from tasks.params import PARAMS, load_params

SLICES, SEED = 4, 5
RATES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
GRID: dict[str, dict[str, tuple[Any, ...]]] = {  # method: setting: what is tried
    "ewc": {"strength": (0.003, 0.01, 0.03, 0.1, 0.5, 2.0)},
    "l2": {"strength": (0.001, 0.003, 0.01, 0.03, 0.1)},
    "recadam": {"gamma": (1.0, 10.0, 100.0, 300.0, 1000.0)},
    "distillation": {"weight": (0.3, 1.0, 3.0, 10.0)},
    "merging": {"alone": (0.3, 0.5, 0.7, 0.85)},
    "frozen_bottom": {"layers": (1, 2, 3)},
    "sparse_memory": {"slots": (0.05, 0.2, 0.5, 1.0)},
    "lora": {"learning_rate_factor": RATES},
    "o_lora": {"learning_rate_factor": RATES},
    "bottleneck": {"learning_rate_factor": RATES},
    "k_adapter": {"learning_rate_factor": RATES},
    "prefix_tuning": {"learning_rate_factor": (3.0, 10.0, 30.0, 100.0)},
    "prompt_tuning": {"learning_rate_factor": (3.0, 10.0, 30.0, 100.0)},
}
ANCHORS = (0.003, 0.03, 0.3)  # of stage 2, which is off without one where no older row is left
FIXED: dict[str, dict[str, Any]] = {"distillation": {"rows": "fresh"}}


def entries() -> dict[str, Any]:
    """An entry of the comparison for each method and strength, and the naive one beside them."""
    made: dict[str, Any] = {"naive": {"keep": {"rows": "none"}}}
    for method, settings in GRID.items():
        for setting, values in settings.items():
            for value in values:
                one = {"name": method, setting: value, **FIXED.get(method, {})}
                made[f"{method}_{value}"] = {"keep": {"rows": "none"}, "methods": [one]}
    for anchor in ANCHORS:
        l2 = {"name": "l2", "strength": 0.01}
        made[f"anchor_{anchor}"] = {"keep": {"rows": "none"}, "methods": [l2], "stage2": {"anchor": anchor}}
    return made


def write(folder: Path) -> None:
    """Write the project."""
    synthetic(SLICES, folder, seed=SEED)
    text = (folder / PARAMS).read_text(encoding="utf-8")
    head, _, _ = text.partition("  entries:\n")
    told = "".join(f"    {name}: {yaml.safe_dump(entry, default_flow_style=True, width=999)}"
                   for name, entry in entries().items())  # fmt: skip
    text = re.sub(r"^  default: \w+ ", "  default: naive ", f"{head}  entries:\n{told}", flags=re.M)
    write_file(folder / PARAMS, text.encode())
    load_params(folder / PARAMS)


def best(rows: dict[str, Any]) -> dict[str, list[tuple[str, float]]]:
    """Of each method its strengths, by the share of all facts that are answered rightly at the end, the best first."""
    found = {}
    for method, settings in {**GRID, "anchor": {"anchor": ANCHORS}}.items():
        names = [str(value) for values in settings.values() for value in values]
        scored = [(name, rows[f"{method}_{name}"]["mean"]["accuracy"]) for name in names if f"{method}_{name}" in rows]
        found[method] = sorted(scored, key=lambda each: -each[1])
    return found


def main(folder: Path) -> None:
    if not (folder / PARAMS).exists():
        write(folder)
        print(f"cd {folder} && perennial methods --seed 20")
        return
    told = json.loads((folder / "reports/methods.json").read_text(encoding="utf-8"))
    for method, scored in best(told["entries"]).items():
        print(method, ", ".join(f"{name}: {share:.1%}" for name, share in scored))


if __name__ == "__main__":
    typer.run(main)
