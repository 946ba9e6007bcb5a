"""The comparison of methods in MLflow: one parent run, and in it one run for each entry and seed.

A comparison is keyed by its content: publishing it again changes nothing, and one that a kill left half done is
finished.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.registry import runs, store
from tasks.registry.store import Names
from tasks.registry.versions import CONTENT_TAG
from tasks.scoring.series import steps_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT_RUN = "methods"
PARENT_TAG = "mlflow.parentRunId"  # how MLflow's pages know what is nested


def publish_comparison(
    client: "MlflowClient", names: Names, comparison: dict[str, Any], files: list[Path], plots: list[Path]
) -> None:
    """Log a comparison (reports/methods.json) that is not logged yet.

    Args:
        client: of the store.
        names: of the project there.
        comparison: what reports/methods.json holds.
        files: are logged to the parent run.
        plots: likewise, in a folder of their own.
    """
    experiment = store.experiment(client, names.comparison)
    content = _sum(comparison)
    parent = _run(client, experiment, PARENT_RUN, {CONTENT_TAG: content})
    if parent.info.status == "FINISHED":
        return
    parent_id = parent.info.run_id
    for name, entry in comparison["entries"].items():
        for seed, found in entry["seeds"].items():
            _publish_entry(client, experiment, parent_id, comparison, name, seed, found)
    runs.log_numbers(client, parent_id, {name: entry["mean"] for name, entry in comparison["entries"].items()})
    runs.log_files(client, parent_id, files)
    runs.log_files(client, parent_id, plots, "plots")
    client.set_terminated(parent_id)


def _publish_entry(
    client: "MlflowClient",
    experiment: str,
    parent: str,
    comparison: dict[str, Any],
    name: str,
    seed: str,
    found: dict[str, Any],
) -> None:
    tags = {CONTENT_TAG: _sum([name, seed, found]), PARENT_TAG: parent}
    run = _run(client, experiment, f"{name} {seed}", tags)
    if run.info.status == "FINISHED":
        return
    run_id, entry = run.info.run_id, comparison["entries"][name]
    settings = {"methods": json.dumps(entry["methods"]), "keep": entry["keep"], "family": entry["family"]}
    settings |= {"seed": seed, "steps": comparison["steps"], "joint": comparison["joint"], "entry": name}
    runs.log_params(client, run_id, settings)
    runs.log_numbers(client, run_id, found["metrics"])
    steps = steps_of(comparison["slices"])
    curves = {
        f"by_slice.{metric}": [pair for pair in zip(steps, values, strict=True) if pair[1] is not None]
        for metric, values in found["by_slice"].items()
    }
    runs.log_series(client, run_id, curves)
    client.set_terminated(run_id)


def _run(client: "MlflowClient", experiment: str, name: str, tags: dict[str, str]) -> Any:
    """The run with these tags: one that is finished or that a kill left, else a new one."""
    for found in store.find_runs(client, experiment, tags):
        return found
    return client.create_run(experiment, run_name=name, tags=tags)


def _sum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
