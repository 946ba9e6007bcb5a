"""Every slice's run and registered model version in MLflow, and the aliases that name them.

What is published is keyed by its content: publishing it again changes nothing.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import artifact
from tasks.errors import BadInput, Corrupt
from tasks.registry import store

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"
SLICE_TAG, CONTENT_TAG, GATE_TAG, PASSED_TAG = (
    "perennial.slice", "perennial.content", "perennial.gate", "perennial.accepted",
)  # fmt: skip
REQUIREMENTS = ("mlflow", "torch", "transformers", "tokenizers", "safetensors", "pydantic", "pyyaml")


@dataclass(frozen=True)
class Publication:
    """What belongs to one slice's version."""

    name: str
    lm: Path
    scores: dict[str, Any]
    params: dict[str, Any]
    tags: dict[str, str]
    series: dict[str, list[float]]  # metric -> values over the slices up to this one
    plots: Path
    examples: Path

    @property
    def content(self) -> str:
        """SHA-256 of the model's manifest: the same model is the same version."""
        return artifact.manifest_sum(self.lm)


def alias_of(name: str) -> str:
    """The alias of a slice's version; MLflow allows letters, digits, '_' and '-'."""
    return "slice-" + re.sub(r"[^A-Za-z0-9_-]", "-", name)


def publish(client: "MlflowClient", publication: Publication) -> Any:
    """Log the slice's run and register its model, unless that was done; return the version."""
    known = _version_of(client, publication.content)
    if known:
        return known
    experiment = store.experiment(client, store.TIMELINE)
    for left in store.find_runs(client, experiment, perennial__content=publication.content):
        client.set_terminated(left.info.run_id, status="KILLED")  # a kill came between its start and its version
        client.delete_run(left.info.run_id)
    tags = {SLICE_TAG: publication.name, CONTENT_TAG: publication.content, **publication.tags}
    run = client.create_run(experiment, run_name=publication.name, tags=tags)
    _log(client, run.info.run_id, publication)
    version = _register(client, run.info.run_id, publication)
    client.set_terminated(run.info.run_id)
    return version


def set_alias(client: "MlflowClient", alias: str, version: Any) -> None:
    """Let an alias name a version, unless it does so already."""
    if _at(client, alias) != str(version.version):
        client.set_registered_model_alias(store.MODEL, alias, version.version)


def drop_alias(client: "MlflowClient", alias: str) -> None:
    """Let an alias name nothing."""
    if _at(client, alias):
        client.delete_registered_model_alias(store.MODEL, alias)


def set_verdict(client: "MlflowClient", version: Any, accepted: bool, reasons: tuple[str, ...]) -> None:
    """Write the gate's decision and its reasons as tags of the version."""
    for tag, value in ((PASSED_TAG, str(accepted).lower()), (GATE_TAG, "; ".join(reasons))):
        if version.tags.get(tag) != value:
            client.set_model_version_tag(store.MODEL, version.version, tag, value)


def champion() -> str | None:
    """The champion's slice; None if there is no champion, or no store, or its server is away."""
    if not store.exists():
        return None
    try:
        return slice_of(store.connect(), CHAMPION)
    except (store.Unreachable, BadInput):
        return None


def slice_of(client: "MlflowClient", alias: str) -> str:
    return str(find_version(client, alias).tags[SLICE_TAG])


def find_version(client: "MlflowClient", name: str) -> Any:
    """A version by slice, alias or number.

    Raises:
        BadInput: there is none; the sentence names those that there are.
    """
    versions = all_versions(client)
    for alias in (name, alias_of(name)):
        number = _at(client, alias)
        if number:
            return next(each for each in versions if str(each.version) == number)
    for each in versions:
        if name == str(each.version):
            return each
    there = ", ".join(sorted({each.tags.get(SLICE_TAG, str(each.version)) for each in versions})) or "none yet"
    raise BadInput(f"MLflow has no model for '{name}'. Published slices: {there}. `perennial run` publishes.")


def _log(client: "MlflowClient", run_id: str, publication: Publication) -> None:
    import time

    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, 0) for name, value in flat_numbers(publication.scores).items()]
    for name, values in publication.series.items():
        metrics += [Metric(f"timeline.{name}", value, now, step) for step, value in enumerate(values)]
    for at in range(0, len(metrics), 500):
        client.log_batch(run_id, metrics=metrics[at : at + 500])
    params = [Param(name, str(value)[:500]) for name, value in publication.params.items()]
    for at in range(0, len(params), 90):
        client.log_batch(run_id, params=params[at : at + 90])
    client.log_dict(run_id, publication.scores, "scores.json")
    client.log_artifact(run_id, str(publication.examples / "raw.json"), "dataset")
    for plot in sorted(publication.plots.glob("*.png")):
        client.log_artifact(run_id, str(plot), "plots")


def _register(client: "MlflowClient", run_id: str, publication: Publication) -> Any:
    """Store the model with the run, check that every byte arrived, then make it a version."""
    from importlib.metadata import version as installed

    import mlflow

    with mlflow.start_run(run_id=run_id):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("serving.py")),
            artifacts={"lm": str(publication.lm)},
            code_paths=[str(Path(__file__).parents[1])],
            pip_requirements=[f"{name}=={installed(name).split('+')[0]}" for name in REQUIREMENTS],
        )
    _check_stored(logged.model_uri, publication)
    try:
        client.create_registered_model(store.MODEL)
    except mlflow.exceptions.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {SLICE_TAG: publication.name, CONTENT_TAG: publication.content}
    return client.create_model_version(
        store.MODEL, source=logged.model_uri, run_id=run_id, tags=tags, model_id=logged.model_id
    )


def _check_stored(uri: str, publication: Publication) -> None:
    from mlflow.artifacts import download_artifacts

    stored = Path(download_artifacts(uri)) / "artifacts" / publication.lm.name
    if artifact.manifest_sum(artifact.verified(stored)) != publication.content:
        raise Corrupt(f"MLflow stored other bytes than {publication.lm} has. Run `perennial run` again.")


def flat_numbers(value: Any, name: str = "") -> dict[str, float]:
    """The numbers in nested dictionaries, by dotted name; what is None is left out."""
    if isinstance(value, dict):
        return {
            key: number
            for inner, part in value.items()
            for key, number in flat_numbers(part, f"{name}.{inner}" if name else str(inner)).items()
        }
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {name: float(value)}
    return {}


def _version_of(client: "MlflowClient", content: str) -> Any:
    same = [each for each in all_versions(client) if each.tags.get(CONTENT_TAG) == content]
    return same[0] if same else None


def all_versions(client: "MlflowClient") -> list[Any]:
    """Every registered version."""
    return list(client.search_model_versions(f"name='{store.MODEL}'"))


def _at(client: "MlflowClient", alias: str) -> str | None:
    """The number of the version that an alias names."""
    for model in client.search_registered_models(f"name='{store.MODEL}'"):
        number = model.aliases.get(alias)
        return str(number) if number is not None else None
    return None
