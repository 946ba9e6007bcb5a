"""The comparison of methods in MLflow: one parent run, and in it one run for each entry and seed.

A comparison is keyed by its content: publishing it again changes nothing, and one that a kill left half done is
finished.
"""

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.registry import store
from tasks.registry.versions import CONTENT_TAG, flat_numbers
from tasks.scoring.series import steps_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "perennial-methods"
PARENT_RUN = "methods"
PARENT_TAG = "mlflow.parentRunId"  # how MLflow's pages know what is nested


def publish_comparison(
    client: "MlflowClient", comparison: dict[str, Any], files: list[Path], plots: list[Path]
) -> None:
    """Log a comparison (reports/methods.json) that is not logged yet.

    Args:
        client: of the store.
        comparison: what reports/methods.json holds.
        files: are logged to the parent run.
        plots: likewise, in a folder of their own.
    """
    experiment = store.experiment(client, EXPERIMENT)
    content = _sum(comparison)
    parent = _run(client, experiment, PARENT_RUN, {CONTENT_TAG: content, store.FOLDER_TAG: store.folder()})
    if parent.info.status == "FINISHED":
        return
    parent_id = parent.info.run_id
    for name, entry in comparison["entries"].items():
        for seed, found in entry["seeds"].items():
            _publish_entry(client, experiment, parent_id, comparison, name, seed, found)
    _log_numbers(client, parent_id, {name: entry["mean"] for name, entry in comparison["entries"].items()})
    for path in files:
        client.log_artifact(parent_id, str(path))
    for path in plots:
        client.log_artifact(parent_id, str(path), "plots")
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
    from mlflow.entities import Metric, Param

    tags = {CONTENT_TAG: _sum([name, seed, found]), PARENT_TAG: parent}
    run = _run(client, experiment, f"{name} {seed}", tags)
    if run.info.status == "FINISHED":
        return
    run_id, entry, now = run.info.run_id, comparison["entries"][name], int(time.time() * 1000)
    settings = {"methods": json.dumps(entry["methods"])[:500], "keep": entry["keep"], "family": entry["family"]}
    settings |= {"seed": seed, "steps": str(comparison["steps"]), "joint": str(comparison["joint"]), "entry": name}
    client.log_batch(run_id, params=[Param(key, value) for key, value in settings.items()])
    _log_numbers(client, run_id, found["metrics"])
    curves = [
        Metric(f"by_slice.{metric}", value, now, step)
        for metric, values in found["by_slice"].items()
        for step, value in zip(steps_of(comparison["slices"]), values, strict=True)
        if value is not None
    ]
    client.log_batch(run_id, metrics=curves)
    client.set_terminated(run_id)


def _run(client: "MlflowClient", experiment: str, name: str, tags: dict[str, str]) -> Any:
    """The run with these tags: one that is finished or that a kill left, else a new one."""
    for found in store.find_runs(client, experiment, tags):
        return found
    return client.create_run(experiment, run_name=name, tags=tags)


def _log_numbers(client: "MlflowClient", run_id: str, numbers: dict[str, Any]) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, 0) for name, value in flat_numbers(numbers).items()]
    for at in range(0, len(metrics), 500):
        client.log_batch(run_id, metrics=metrics[at : at + 500])


def _sum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
