"""Every slice's run and registered model version in MLflow, and the aliases that name them.

What is published is keyed by its content: publishing it again changes nothing. An alias is moved only after the
version that it will name is complete and its stored bytes were compared with the folder's.
"""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
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
TIMELINE_RUN = "timeline"
REQUIREMENTS = ("mlflow", "torch", "transformers", "tokenizers", "safetensors", "pydantic", "ruamel.yaml")
MAX_DIGEST = 36  # of MLflow's data sets

Series = dict[str, list[tuple[int, float]]]  # metric -> (step, value) over the slices


@dataclass(frozen=True)
class Publication:
    """What belongs to one slice's version."""

    name: str
    lm: Path
    retriever: Path
    examples: Path
    scores: dict[str, Any]
    params: dict[str, Any]
    tags: dict[str, str]
    series: Series
    plots: Path
    description: str = ""

    @property
    def content(self) -> str:
        """One sum of everything that the version is: the model, the retriever and what was measured of them."""
        sums = [artifact.manifest_sum(self.lm), artifact.manifest_sum(self.retriever), self.scores]
        return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()


def alias_of(name: str) -> str:
    """The alias of a slice's version; MLflow allows letters, digits, '_' and '-' in it, and slices have dots, too."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", name)
    if plain == name:
        return f"slice-{name}"
    return f"slice-{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"  # "a.b" must not take the alias of "a-b"


def publish(client: "MlflowClient", publication: Publication) -> Any:
    """Log the slice's run and register its model, unless that was done; return the version."""
    content = publication.content
    known = [each for each in all_versions(client) if each.tags.get(CONTENT_TAG) == content]
    if known and _is_stored(known[0].source, publication):
        return known[0]
    run_id = _fresh_run(client, publication.name, content, {SLICE_TAG: publication.name, **publication.tags})
    _log(client, run_id, publication)
    version = _register(client, run_id, publication)
    for each in known:  # its files are lost or changed; an alias may still name it until it moves on
        client.delete_model_version_tag(store.MODEL, each.version, CONTENT_TAG)
    return version


def publish_timeline_run(client: "MlflowClient", series: Series, files: list[Path], plots: Path) -> None:
    """Log the run that shows the whole timeline: one curve per metric over the slices, the report and its pictures."""
    sums = {path.name: artifact.file_sum(path) for path in files}
    content = hashlib.sha256(json.dumps([series, sums], sort_keys=True).encode()).hexdigest()
    experiment = store.experiment(client, store.TIMELINE)
    if any(run.info.status == "FINISHED" for run in store.find_runs(client, experiment, {CONTENT_TAG: content})):
        return
    run_id = _fresh_run(client, TIMELINE_RUN, content, {})
    _log_series(client, run_id, series)
    for path in files:
        client.log_artifact(run_id, str(path))
    _log_plots(client, run_id, plots)
    client.set_terminated(run_id)


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
    """The champion's slice; None if there is no champion, or no store, or it can't be asked."""
    if not store.exists():
        return None
    from mlflow.exceptions import MlflowException

    try:
        return slice_of(store.connect(), CHAMPION)
    except (store.Unreachable, MlflowException, BadInput):
        return None


def slice_of(client: "MlflowClient", alias: str) -> str:
    return str(find_version(client, alias).tags[SLICE_TAG])


def find_version(client: "MlflowClient", name: str) -> Any:
    """A version by slice, alias or number.

    Raises:
        BadInput: there is none; the sentence names those that there are.
    """
    versions = all_versions(client)
    for alias in (alias_of(name), name):
        number = _at(client, alias)
        if number:
            return next(each for each in versions if str(each.version) == number)
    for each in versions:
        if name == str(each.version):
            return each
    there = ", ".join(sorted({each.tags.get(SLICE_TAG, str(each.version)) for each in versions})) or "none yet"
    raise BadInput(f"MLflow has no model for '{name}'. Published slices: {there}. `perennial run` publishes.")


def all_versions(client: "MlflowClient") -> list[Any]:
    """Every registered version, newest first."""
    return list(client.search_model_versions(f"name='{store.MODEL}'"))


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


def _fresh_run(client: "MlflowClient", name: str, content: str, tags: dict[str, str]) -> str:
    """A new run; one of the same content that has no version was left by a kill, and is removed."""
    experiment = store.experiment(client, store.TIMELINE)
    for left in store.find_runs(client, experiment, {CONTENT_TAG: content}):
        client.set_terminated(left.info.run_id, status="KILLED")
        client.delete_run(left.info.run_id)
    run = client.create_run(experiment, run_name=name, tags={CONTENT_TAG: content, **tags})
    return str(run.info.run_id)


def _log(client: "MlflowClient", run_id: str, publication: Publication) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, 0) for name, value in flat_numbers(publication.scores).items()]
    for at in range(0, len(metrics), 500):
        client.log_batch(run_id, metrics=metrics[at : at + 500])
    _log_series(client, run_id, {f"timeline.{name}": values for name, values in publication.series.items()})
    params = [Param(name, str(value)[:500]) for name, value in publication.params.items()]
    for at in range(0, len(params), 90):
        client.log_batch(run_id, params=params[at : at + 90])
    used = Dataset(
        name=f"examples-{publication.name}",
        digest=artifact.manifest_sum(publication.examples)[:MAX_DIGEST],
        source_type="local",
        source=json.dumps({"uri": f"data/examples/{publication.name}"}),
    )
    client.log_inputs(run_id, [DatasetInput(used, [InputTag("mlflow.data.context", "training")])])
    client.log_dict(run_id, publication.scores, "scores.json")
    client.log_artifact(run_id, str(publication.examples / "raw.json"), "dataset")
    _log_plots(client, run_id, publication.plots)


def _log_series(client: "MlflowClient", run_id: str, series: Series) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, step) for name, values in series.items() for step, value in values]
    for at in range(0, len(metrics), 500):
        client.log_batch(run_id, metrics=metrics[at : at + 500])


def _log_plots(client: "MlflowClient", run_id: str, plots: Path) -> None:
    for plot in sorted(plots.glob("*.png")):
        client.log_artifact(run_id, str(plot), "plots")


def _register(client: "MlflowClient", run_id: str, publication: Publication) -> Any:
    """Store the model with the run, check that every byte arrived, then make it a version."""
    from importlib.metadata import version as installed

    import mlflow

    with mlflow.start_run(run_id=run_id), _plain_folders(publication) as folders:  # and end the run
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("serving.py")),
            artifacts={name: folder.as_uri() for name, folder in folders.items()},  # a path would be read as a URI
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
        store.MODEL,
        source=logged.model_uri,
        run_id=run_id,
        tags=tags,
        description=publication.description,
        model_id=logged.model_id,
    )


def _folders(publication: Publication) -> dict[str, Path]:
    return {"lm": publication.lm, "retriever": publication.retriever}


@contextmanager
def _plain_folders(publication: Publication) -> Iterator[dict[str, Path]]:
    """The folders to store, by name; copied where DVC's cache put links into them, as MLflow refuses links."""
    with TemporaryDirectory() as copies:
        plain = {}
        for name, folder in _folders(publication).items():
            plain[name] = folder.resolve()
            if any(path.is_symlink() for path in folder.rglob("*")):
                plain[name] = Path(copies) / folder.name
                shutil.copytree(folder, plain[name], copy_function=shutil.copyfile)
        yield plain


def _is_stored(uri: str, publication: Publication) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        _check_stored(uri, publication)
    except (BadInput, Corrupt, MlflowException, OSError):
        return False
    return True


def _check_stored(uri: str, publication: Publication) -> None:
    from mlflow.artifacts import download_artifacts

    with TemporaryDirectory() as copy:
        stored = Path(download_artifacts(uri, dst_path=copy)) / "artifacts"
        for folder in _folders(publication).values():
            if artifact.manifest_sum(artifact.verified(stored / folder.name)) != artifact.manifest_sum(folder):
                raise Corrupt(f"MLflow stored other bytes than {folder} has. Run `perennial run` again.")


def _at(client: "MlflowClient", alias: str) -> str | None:
    """The number of the version that an alias names."""
    for model in client.search_registered_models(f"name='{store.MODEL}'"):
        number = model.aliases.get(alias)
        return str(number) if number is not None else None
    return None
