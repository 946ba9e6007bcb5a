"""Where MLflow keeps runs and models: a server if MLFLOW_TRACKING_URI names one, else a file of this project."""

import fcntl
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from tasks import machine
from tasks.errors import reason_of
from tasks.params import Registry

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlflow.db"
ARTIFACTS = "mlruns"
SQLITE = "sqlite:///"
LOCK = Path(".perennial/mlflow.lock")
PLACE_TAG, BOOT_TAG = "perennial.place", "perennial.boot"  # of what is at work: which machine's, and since when
ANSWER_SECONDS = 3.0


class Unreachable(ConnectionError):
    """The store does not answer, or is not this project's."""


@dataclass(frozen=True)
class Names:
    """What a project is called in MLflow, where one server may serve several: its registered model and experiments."""

    model: str
    owner: str  # who may move the model's aliases

    @property
    def timeline(self) -> str:
        return self.model

    @property
    def training(self) -> str:
        return f"{self.model}-training"

    @property
    def comparison(self) -> str:
        return f"{self.model}-methods"


def names_of(registry: Registry) -> Names:
    """The project's names: those of params.yaml, else its folder's, and this machine's mark as the owner."""
    folder = re.sub(r"[^\w.-]", "-", Path.cwd().name).strip("-.") or "perennial"
    return Names(registry.model or folder, registry.owner or machine.place())


def failures() -> tuple[type[Exception], ...]:
    """What a store that is away or broken raises: for `except`, where publishing can wait for the next run."""
    from mlflow.exceptions import MlflowException

    return (Unreachable, MlflowException, OSError)


def tracking_uri() -> str:
    """The user's server or database, else mlflow.db in the project's folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _uri_of(Path(DATABASE).resolve())


def registry_uri() -> str:
    """Where models are registered, if that is elsewhere."""
    return os.environ.get("MLFLOW_REGISTRY_URI") or tracking_uri()


def exists() -> bool:
    """Whether there is a store to ask, without making one; a server is taken to be there."""
    database = _database()
    return database is None or (database.exists() and (database.parent / ARTIFACTS).is_dir())


def probe() -> None:
    """Ask the servers that are named for their health: one that takes the connection and says nothing is dead, too.

    Raises:
        Unreachable: one does not answer within a few seconds.
    """
    for uri in dict.fromkeys((tracking_uri(), registry_uri())):
        if uri.startswith(("http://", "https://")):
            _probe(uri)


def _probe(uri: str) -> None:
    """By MLflow's own client, which knows of passwords and certificates."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    asked = {"timeout": ANSWER_SECONDS, "max_retries": 0, "raise_on_status": False}
    try:
        status = http_request(get_default_host_creds(uri), "/health", "GET", **asked).status_code
    except (MlflowException, OSError, ValueError) as error:
        raise Unreachable(f"The MLflow server {uri} does not answer ({cause(error)}).") from error
    if status >= 500:  # below it answers, if only to ask for a password; 502 is a proxy's answer
        raise Unreachable(f"The MLflow server {uri} does not answer (status {status}).")


def cause(error: BaseException) -> str:
    """The innermost reason of chained errors: those around it repeat the address."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return reason_of(error)


def connect() -> "MlflowClient":
    """A client, once the store is known to answer.

    Raises:
        Unreachable: a server is named and does not answer within a few seconds, or the database is broken.
    """
    uri = tracking_uri()
    probe()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow
    from sqlalchemy.exc import SQLAlchemyError

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(uri)
    with _alone():  # two processes that create the database at once both fail
        try:
            _create_database()
            client = mlflow.MlflowClient()
            client.search_experiments(max_results=1)
        except SQLAlchemyError as error:
            raise Unreachable(f"The MLflow database {uri} can't be opened ({reason_of(error)}).") from error
    return client


@contextmanager
def hushed() -> Iterator[None]:
    """Without MLflow's advice about signatures, which whoever publishes or compares can't follow.

    It sets filters of its own, so the warnings are taken and not filtered.
    """
    with warnings.catch_warnings(record=True):
        yield


def experiment(client: "MlflowClient", name: str) -> str:
    """The experiment's id; it is made on first use.

    Raises:
        Unreachable: the database came from another folder. MLflow keeps absolute paths: it would write over there.
    """
    database = _database()
    location = (database.parent / ARTIFACTS / name).as_uri() if database else None
    with _alone():
        found = client.get_experiment_by_name(name)
        if not found:
            return str(client.create_experiment(name, artifact_location=location))
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
    if location and found.artifact_location != location:
        raise Unreachable(
            f"{database} keeps its files in {found.artifact_location}: it was copied or moved. "
            f"Delete {DATABASE} and {ARTIFACTS} here, and everything is published anew."
        )
    return str(found.experiment_id)


def find_runs(client: "MlflowClient", experiment_id: str, tags: dict[str, str]) -> list[Any]:
    """The experiment's runs with these tags, newest first."""
    wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    return list(client.search_runs([experiment_id], filter_string=wanted, order_by=["attributes.start_time DESC"]))


def at_work() -> dict[str, str]:
    """Tags of a run that is being made: by them it is known again if it is killed."""
    return {PLACE_TAG: machine.place(), BOOT_TAG: machine.boot()}


def end_killed_runs(client: "MlflowClient", names: Names) -> None:
    """Close the training runs of this folder that a kill left running; call it while nothing trains here."""
    for run in find_runs(client, experiment(client, names.training), {PLACE_TAG: machine.place()}):
        started = run.info.start_time / 1000
        if run.info.status == "RUNNING" and machine.is_dead(machine.place(), run.data.tags.get(BOOT_TAG, ""), started):
            client.set_terminated(run.info.run_id, status="KILLED")


def _create_database() -> None:
    """Make a database that is missing beside its place, then rename it: half a one, left by a kill, never mends."""
    database = _database()
    if database is None or database.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    partial = database.with_name(f"{database.name}.partial")
    for left in (partial, partial.with_name(f"{partial.name}-journal")):
        left.unlink(missing_ok=True)
    database.parent.mkdir(parents=True, exist_ok=True)
    # its first experiment is written by a statement in which a path with quotes is a syntax error: a URI has none
    made = SqlAlchemyStore(_uri_of(partial), (database.parent / ARTIFACTS).as_uri())
    made.engine.dispose()
    partial.rename(database)


def _uri_of(path: Path) -> str:
    """SQLAlchemy takes a path as it is, and what follows a '?' for options: only then SQLite's own form is needed."""
    return f"{SQLITE}{path}" if "?" not in str(path) else f"{SQLITE}file:{quote(str(path))}?uri=true"


def _database() -> Path | None:
    """The file of an SQLite database, if it is one."""
    found = re.fullmatch(r"sqlite(?:\+\w+)?:///(file:)?([^?]*)(?:\?.*)?", tracking_uri())
    return Path(unquote(found[2]) if found[1] else found[2]).resolve() if found and found[2] else None


@contextmanager
def _alone() -> Iterator[None]:
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
