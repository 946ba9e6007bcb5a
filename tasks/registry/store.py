"""Where MLflow keeps runs and models: a server if MLFLOW_TRACKING_URI names one, else a file of this project."""

import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlflow.db"
ARTIFACTS = "mlruns"
LOCK = Path(".perennial/mlflow.lock")
TIMELINE, TRAINING = "perennial", "perennial-training"
MODEL = "perennial"
ANSWER_SECONDS = 3.0


class Unreachable(ConnectionError):
    """The tracking server does not answer."""


def tracking_uri() -> str:
    """The user's server or database, else mlflow.db in the project's folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(DATABASE).resolve()}"


def exists() -> bool:
    """Whether there is a store to ask, without making one."""
    uri = tracking_uri()
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


def connect() -> "MlflowClient":
    """A client, once the store is known to answer.

    Raises:
        Unreachable: a server is named and does not answer within a few seconds.
    """
    uri = tracking_uri()
    _probe(uri)
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    client = mlflow.MlflowClient()
    with _alone():  # two processes that create the database at once both fail
        client.search_experiments(max_results=1)
    return client


def experiment(client: "MlflowClient", name: str) -> str:
    """The experiment's id; it is made on first use."""
    with _alone():
        found = client.get_experiment_by_name(name)
        if found:
            return str(found.experiment_id)
        local = tracking_uri().startswith("sqlite:///")
        location = (Path(ARTIFACTS).resolve() / name).as_uri() if local else None
        return str(client.create_experiment(name, artifact_location=location))


def find_runs(client: "MlflowClient", experiment_id: str, **tags: str) -> list[Any]:
    """The experiment's runs with these tags (dots in names written as two underscores), newest first."""
    filters = " and ".join(f"tags.`{name.replace('__', '.')}` = '{value}'" for name, value in tags.items())
    return list(client.search_runs([experiment_id], filter_string=filters, order_by=["attributes.start_time DESC"]))


def _probe(uri: str) -> None:
    address = urlparse(uri)
    if address.scheme not in ("http", "https"):
        return
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise Unreachable(f"The MLflow server {uri} does not answer ({error}).") from error


@contextmanager
def _alone() -> Iterator[None]:
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
