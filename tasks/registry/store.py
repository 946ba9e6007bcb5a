"""Where MLflow keeps runs and models: a server if MLFLOW_TRACKING_URI names one, else a file of this project."""

import fcntl
import hashlib
import logging
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from tasks.errors import reason_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlflow.db"
ARTIFACTS = "mlruns"
SQLITE = "sqlite:///"
LOCK = Path(".perennial/mlflow.lock")
TIMELINE, TRAINING = "perennial", "perennial-training"
MODEL = "perennial"
FOLDER_TAG = "perennial.folder"
ANSWER_SECONDS = 3.0


class Unreachable(ConnectionError):
    """The store does not answer, or is not this project's."""


def failures() -> tuple[type[Exception], ...]:
    """What a store that is away or broken raises: for `except`, where publishing can wait for the next run."""
    from mlflow.exceptions import MlflowException

    return (Unreachable, MlflowException, OSError)


def tracking_uri() -> str:
    """The user's server or database, else mlflow.db in the project's folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _uri_of(Path(DATABASE).resolve())


def exists() -> bool:
    """Whether there is a store to ask, without making one; a server is taken to be there."""
    database = _database()
    return database is None or (database.exists() and (database.parent / ARTIFACTS).is_dir())


def probe() -> None:
    """Ask a server, if one is named, for its health: one that takes the connection and says nothing is dead, too.

    Raises:
        Unreachable: it does not answer within a few seconds.
    """
    uri = tracking_uri()
    if not uri.startswith(("http://", "https://")):
        return
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=ANSWER_SECONDS).close()
    except (OSError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError) and error.code < 500:  # it answers, if only to ask for a password
            return
        raise Unreachable(f"The MLflow server {uri} does not answer ({error}).") from error


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
    mlflow.set_registry_uri(uri)
    with _alone():  # two processes that create the database at once both fail
        try:
            _create_database()
            client = mlflow.MlflowClient()
            client.search_experiments(max_results=1)
        except SQLAlchemyError as error:
            raise Unreachable(f"The MLflow database {uri} can't be opened ({reason_of(error)}).") from error
    return client


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


def end_killed_runs(client: "MlflowClient") -> None:
    """Close the training runs of this folder that a kill left running; call it while nothing trains here."""
    for run in find_runs(client, experiment(client, TRAINING), {FOLDER_TAG: folder()}):
        if run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, status="KILLED")


def folder() -> str:
    """What tells this project's runs from those of others on the same server, and doesn't tell them its path."""
    return hashlib.sha256(str(Path.cwd()).encode()).hexdigest()[:16]


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
