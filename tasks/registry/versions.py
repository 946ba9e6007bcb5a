"""Every slice's model as a registered version in MLflow, with the run that tells what was measured of it.

A version is keyed by its slice and weights, its scores by their own content: measured anew, the same weights stay the
same version. What is published again changes nothing. An alias is moved only after the version that it will name is
complete and its stored bytes were compared with the folder's.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tasks import artifact
from tasks.errors import BadInput, Corrupt, reason_of
from tasks.registry import runs, store
from tasks.registry.runs import Series
from tasks.registry.store import Names, Unreachable

if TYPE_CHECKING:
    from mlflow import MlflowClient

SLICE_TAG, CONTENT_TAG = "perennial.slice", "perennial.content"
WEIGHTS_TAG, LM_TAG, RETRIEVER_TAG = "perennial.weights", "perennial.lm", "perennial.retriever"
SCORES_TAG, SCORES_RUN_TAG = "perennial.scores", "perennial.scores_run"
LM, RETRIEVER = "lm", "retriever"
SCORES, OUTCOMES = "scores.json", "outcomes.json"
TIMELINE_RUN = "timeline"
REQUIREMENTS = (  # what the served model imports (tests/registry/test_serving.py compares)
    "mlflow", "torch", "transformers", "tokenizers", "safetensors", "peft", "sentence-transformers", "scikit-learn",
    "scipy", "numpy", "bm25s", "regex", "pydantic", "ruamel.yaml",
)  # fmt: skip
GONE = "RESOURCE_DOES_NOT_EXIST"  # MLflow's code of what was deleted, or never was
MAX_DIGEST = 36  # of MLflow's data sets


@dataclass(frozen=True)
class Publication:
    """What belongs to one slice's version.

    Attributes:
        evaluation: the folder with scores.json, and outcomes.json if there is one.
        provenance: files that tell what it was made from.
    """

    name: str
    lm: Path
    retriever: Path
    examples: Path
    evaluation: Path
    params: dict[str, Any]
    tags: dict[str, str]
    series: Series
    plots: Path
    provenance: dict[str, str] = field(default_factory=dict)
    description: str = ""

    @property
    def sums(self) -> dict[str, str]:
        return {LM: artifact.manifest_sum(self.lm), RETRIEVER: artifact.manifest_sum(self.retriever)}

    @property
    def weights(self) -> str:
        """One sum of every byte that the version's models are."""
        return _sum([self.name, self.sums])

    @property
    def measured(self) -> str:
        """One sum of what was measured of them."""
        return _sum([self.weights, artifact.manifest_sum(self.evaluation)])


def alias_of(name: str) -> str:
    """The alias of a slice's version; MLflow allows letters, digits, '_' and '-' in it, and slices have dots, too."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", name)
    if plain == name:
        return f"slice-{name}"
    return f"slice-{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"  # "a.b" must not take the alias of "a-b"


def publish(client: "MlflowClient", names: Names, publication: Publication) -> Any:
    """Register the slice's model and log what was measured of it, unless that was done; return the version.

    Raises:
        Unreachable: whether MLflow still has the version's files can't be told now. Nothing is changed then.
        Corrupt: MLflow stored other bytes than the folder has.
    """
    known = [each for each in all_versions(client, names) if each.tags.get(WEIGHTS_TAG) == publication.weights]
    if known and _is_stored(known[0], publication):
        (version, *_) = known
        if version.tags.get(SCORES_TAG) != publication.measured:
            run_id = _logged(client, names, publication)
            client.set_terminated(run_id)
            _tag(client, names, version, {SCORES_RUN_TAG: run_id, SCORES_TAG: publication.measured})
    else:
        version = _register(client, names, _logged(client, names, publication), publication)
        for each in known:  # its files are lost or changed; an alias may still name it until it moves on
            client.delete_model_version_tag(names.model, each.version, WEIGHTS_TAG)
    return client.get_model_version(names.model, version.version)


def publish_timeline_run(client: "MlflowClient", names: Names, series: Series, files: list[Path], plots: Path) -> None:
    """Log the run that shows the whole timeline: one curve per metric over the slices, the report and its pictures."""
    content = _sum([series, {path.name: artifact.file_sum(path) for path in files}])
    experiment = store.experiment(client, names.timeline)
    if any(run.info.status == "FINISHED" for run in store.find_runs(client, experiment, {CONTENT_TAG: content})):
        return
    run_id = _fresh_run(client, names, TIMELINE_RUN, {CONTENT_TAG: content})
    runs.log_series(client, run_id, series)
    runs.log_files(client, run_id, files)
    runs.log_files(client, run_id, sorted(plots.glob("*.png")), "plots")
    client.set_terminated(run_id)


def find_version(client: "MlflowClient", names: Names, name: str) -> Any:
    """A version by slice, alias or number.

    Raises:
        BadInput: there is none; the sentence names those that there are.
    """
    versions = all_versions(client, names)
    aliases = aliases_of(client, names)
    number = next((aliases[each] for each in (alias_of(name), name) if each in aliases), name)
    for each in versions:
        if str(each.version) == number:
            return each
    there = ", ".join(sorted({each.tags.get(SLICE_TAG, str(each.version)) for each in versions})) or "none yet"
    raise BadInput(f"MLflow has no model for '{name}'. Published slices: {there}. `perennial run` publishes.")


def all_versions(client: "MlflowClient", names: Names) -> list[Any]:
    """Every registered version, newest first."""
    found: list[Any] = []
    token = None
    while True:
        page = client.search_model_versions(f"name='{names.model}'", page_token=token)
        found += page
        if not (token := page.token):
            return sorted(found, key=lambda each: -int(each.version))


def aliases_of(client: "MlflowClient", names: Names) -> dict[str, str]:
    """The number of the version that each alias names."""
    for model in client.search_registered_models(f"name='{names.model}'"):
        return {alias: str(number) for alias, number in model.aliases.items()}
    return {}


def set_alias(client: "MlflowClient", names: Names, alias: str, version: Any) -> None:
    """Let an alias name a version, unless it does so already."""
    if aliases_of(client, names).get(alias) != str(version.version):
        client.set_registered_model_alias(names.model, alias, version.version)


def drop_alias(client: "MlflowClient", names: Names, alias: str) -> None:
    """Let an alias name nothing."""
    if alias in aliases_of(client, names):
        client.delete_registered_model_alias(names.model, alias)


def measured_of(version: Any, file: str) -> Any:
    """A JSON file of the run that tells what was measured of a version; None if it has none of that name."""
    return file_of_run(run_of(version), file)


def run_of(version: Any) -> str:
    """The run that tells what was last measured of a version."""
    return str(version.tags.get(SCORES_RUN_TAG, version.run_id))


def file_of_run(run_id: str, file: str) -> Any:
    """A JSON file of a run; None if it has none of that name, or somebody deleted the run."""
    from mlflow.artifacts import list_artifacts, load_dict
    from mlflow.exceptions import MlflowException

    try:
        there = {each.path for each in list_artifacts(run_id=run_id)}
    except MlflowException as error:
        if error.error_code == GONE:
            return None
        raise
    return load_dict(f"runs:/{run_id}/{file}") if file in there else None


def _tag(client: "MlflowClient", names: Names, version: Any, tags: dict[str, str]) -> None:
    for tag, value in tags.items():
        client.set_model_version_tag(names.model, version.version, tag, value)


def _fresh_run(client: "MlflowClient", names: Names, name: str, tags: dict[str, str]) -> str:
    """A new run; one of the same content that no version has was left by a kill, and is removed."""
    experiment = store.experiment(client, names.timeline)
    left = store.find_runs(client, experiment, {CONTENT_TAG: tags[CONTENT_TAG]})
    if left:
        versions = all_versions(client, names)
        used = {each.run_id for each in versions} | {each.tags.get(SCORES_RUN_TAG) for each in versions}
        for run in left:
            if run.info.run_id not in used:
                runs.remove_run(client, run)
    return str(client.create_run(experiment, run_name=name, tags=tags).info.run_id)


def _logged(client: "MlflowClient", names: Names, publication: Publication) -> str:
    """A new run with all that is told of a version."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    tags = {CONTENT_TAG: publication.measured, SLICE_TAG: publication.name, **publication.tags}
    run_id = _fresh_run(client, names, publication.name, tags)
    runs.log_numbers(client, run_id, artifact.read_json(publication.evaluation / SCORES))
    runs.log_series(client, run_id, {f"timeline.{name}": values for name, values in publication.series.items()})
    runs.log_params(client, run_id, publication.params)
    used = Dataset(
        name=f"examples-{publication.name}",
        digest=artifact.manifest_sum(publication.examples)[:MAX_DIGEST],
        source_type="local",
        source=json.dumps({"uri": f"data/examples/{publication.name}"}),
    )
    client.log_inputs(run_id, [DatasetInput(used, [InputTag("mlflow.data.context", "training")])])
    measured = [publication.evaluation / name for name in (SCORES, OUTCOMES)]
    runs.log_files(client, run_id, [path for path in measured if path.exists()])
    runs.log_files(client, run_id, [publication.examples / "raw.json"], "dataset")
    runs.log_files(client, run_id, sorted(publication.plots.glob("*.png")), "plots")
    for name, text in publication.provenance.items():
        client.log_text(run_id, text, f"made_from/{name}")
    return run_id


def _register(client: "MlflowClient", names: Names, run_id: str, publication: Publication) -> Any:
    """Store the model with the run, check that every byte arrived, then make it a version."""
    from importlib.metadata import version as installed

    import mlflow

    # the block ends the run, too
    with store.hushed(), mlflow.start_run(run_id=run_id), _plain_folders(publication) as folders:
        from tasks.registry.serving import SIGNATURE

        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("serving.py")),
            artifacts={name: folder.as_uri() for name, folder in folders.items()},  # a path would be read as a URI
            code_paths=[str(Path(__file__).parents[1])],
            signature=SIGNATURE,
            pip_requirements=[f"{name}=={installed(name).split('+')[0]}" for name in REQUIREMENTS],
        )
    _check_stored(logged.model_uri, publication)
    tags = {SLICE_TAG: publication.name, WEIGHTS_TAG: publication.weights}
    tags |= {LM_TAG: publication.sums[LM], RETRIEVER_TAG: publication.sums[RETRIEVER]}
    tags |= {SCORES_RUN_TAG: run_id, SCORES_TAG: publication.measured}
    return client.create_model_version(
        names.model,
        source=logged.model_uri,
        run_id=run_id,
        tags=tags,
        description=publication.description,
        model_id=logged.model_id,
    )


def _folders(publication: Publication) -> dict[str, Path]:
    return {LM: publication.lm, RETRIEVER: publication.retriever}


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


def _is_stored(version: Any, publication: Publication) -> bool:
    """Whether MLflow has the manifests of what was verified byte by byte when it was stored.

    Raises:
        Unreachable: that can't be told now, which is no reason to store it again.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    try:
        stored = get_artifact_repository(version.source)
        for name, folder in _folders(publication).items():
            manifest = f"artifacts/{folder.name}/{artifact.MANIFEST}"
            if manifest not in {each.path for each in stored.list_artifacts(f"artifacts/{folder.name}")}:
                return False
            with TemporaryDirectory() as copy:
                if artifact.file_sum(Path(stored.download_artifacts(manifest, copy))) != publication.sums[name]:
                    return False
    except MlflowException as error:
        if error.error_code == GONE:
            return False
        raise _untold(version, error) from error
    except OSError as error:
        raise _untold(version, error) from error
    return True


def _untold(version: Any, error: Exception) -> Unreachable:
    return Unreachable(f"Whether MLflow still has version {version.version} can't be told ({reason_of(error)}).")


def _check_stored(uri: str, publication: Publication) -> None:
    from mlflow.artifacts import download_artifacts

    with TemporaryDirectory() as copy:
        stored = Path(download_artifacts(uri, dst_path=copy)) / "artifacts"
        for folder in _folders(publication).values():
            if artifact.manifest_sum(artifact.verified(stored / folder.name)) != artifact.manifest_sum(folder):
                raise Corrupt(f"MLflow stored other bytes than {folder} has. Run `perennial run` again.")


def _sum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
