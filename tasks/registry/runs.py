"""What a run in MLflow holds: numbers, settings, curves, pictures; and how one that a kill left is taken away."""

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOST_METRICS, MOST_PARAMS = 500, 90  # that MLflow takes in one request
LONGEST_PARAM = 500  # characters

Series = dict[str, list[tuple[int, float]]]  # metric -> (step, value) over the slices


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested dictionaries and sections by dotted name; a list or a number stands for itself."""
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    if not isinstance(value, dict):
        return {name: value}
    return {
        key: inner
        for part, of_part in value.items()
        for key, inner in flat(of_part, f"{name}.{part}" if name else str(part)).items()
    }


def flat_numbers(value: Any) -> dict[str, float]:
    """The numbers in nested dictionaries, by dotted name; what is None is left out."""
    return {
        name: float(each)
        for name, each in flat(value).items()
        if isinstance(each, int | float) and not isinstance(each, bool)
    }


def log_numbers(client: "MlflowClient", run_id: str, numbers: Any) -> None:
    """Log each number of nested dictionaries as a metric."""
    log_series(client, run_id, {name: [(0, value)] for name, value in flat_numbers(numbers).items()})


def log_series(client: "MlflowClient", run_id: str, series: Series) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, step) for name, values in series.items() for step, value in values]
    for at in range(0, len(metrics), MOST_METRICS):
        client.log_batch(run_id, metrics=metrics[at : at + MOST_METRICS])


def log_params(client: "MlflowClient", run_id: str, settings: Any) -> None:
    """Log nested settings by dotted name."""
    from mlflow.entities import Param

    params = [Param(name, str(value)[:LONGEST_PARAM]) for name, value in flat(settings).items()]
    for at in range(0, len(params), MOST_PARAMS):
        client.log_batch(run_id, params=params[at : at + MOST_PARAMS])


def log_files(client: "MlflowClient", run_id: str, files: list[Path], folder: str | None = None) -> None:
    for path in files:
        client.log_artifact(run_id, str(path), folder)


def remove_run(client: "MlflowClient", run: Any) -> None:
    """Take a run away with its files and those of the models that it stored: MLflow alone would only hide it."""
    from mlflow.exceptions import MlflowException

    stored = client.search_logged_models([run.info.experiment_id], filter_string=f"source_run_id = '{run.info.run_id}'")
    for model in stored:
        _remove_files(model.artifact_location)
        with suppress(MlflowException):
            client.delete_logged_model(model.model_id)
    _remove_files(run.info.artifact_uri)
    client.set_terminated(run.info.run_id, status="KILLED")
    client.delete_run(run.info.run_id)


def _remove_files(uri: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with suppress(MlflowException, OSError, NotImplementedError):  # not every store can; the run goes all the same
        get_artifact_repository(uri).delete_artifacts()
