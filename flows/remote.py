"""The DVC remote: what one machine made, another fetches instead of making it again.

Besides the outputs that dvc.lock names, the run-cache travels: which inputs gave which outputs. So a machine whose
dvc.lock is older finds what it would train, too.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.graph import Graph
from tasks.errors import BadInput, PerennialError, reason_of

NO_REMOTE = (
    "This project has no DVC remote. Name one: `dvc remote add --default store FOLDER-OR-URL` (docs/machines.md), "
    "and commit .dvc/config."
)
REFUSALS = ("credentials", "access denied", "forbidden", "unauthorized", "authentication")  # as libraries say it


class RemoteFailed(PerennialError):
    """The DVC remote did not answer, or did not take or give what it was asked for."""


def push(graph: Graph) -> int:
    """Send what dvc.lock names and the run-cache; how many files of outputs were new there.

    Raises:
        BadInput: there is no remote, or none that can keep the run-cache.
        RemoteFailed: it could not be reached, or took only a part.
    """
    with _told(_reached(graph, writes=True), "took only a part, or nothing") as heard:
        sent = int(graph.repo.push())
        graph.repo.stage_cache.push(None)
        if heard:  # of a run that did not get there DVC says no more
            raise heard[0]
    return sent


def fetch(graph: Graph) -> None:
    """Bring what dvc.lock names and the run-cache into DVC's cache, as far as the remote has it.

    Raises:
        BadInput, RemoteFailed: as `push`.
    """
    from dvc.exceptions import DownloadError

    with _told(_reached(graph), "does not give what it has") as heard:
        try:
            graph.repo.fetch(run_cache=True)
        except DownloadError:
            if not all(isinstance(error, FileNotFoundError) for error in heard):
                raise  # else dvc.lock names more than was ever pushed, and the rest is made here


def ask(graph: Graph) -> None:
    """Learn from the remote what was ever run, so that a stage may be restored from there.

    Raises:
        BadInput, RemoteFailed: as `push`.
    """
    with _told(_reached(graph, writes=True), "does not tell what was run") as heard:
        graph.repo.stage_cache.pull(None)
        if heard:
            raise heard[0]
    graph.pull = True


def _reached(graph: Graph, writes: bool = False) -> Any:
    """The remote, after it answered."""
    from dvc.config import ConfigError, NoRemoteError

    try:
        remote = graph.repo.cloud.get_remote()
    except NoRemoteError as error:
        raise BadInput(NO_REMOTE) from error
    except (ConfigError, ImportError) as error:  # no such remote, or a kind whose package is not installed
        raise BadInput(f"The DVC remote can't be used: {reason_of(error)}.") from error
    if remote.fs.protocol in ("http", "https") or remote.fs.version_aware or remote.worktree:
        raise BadInput(
            f"The DVC remote '{remote.name}' can't keep which inputs gave which outputs: use a folder, or ssh, s3, gs "
            "or azure without versions."
        )
    with _told(remote, "does not answer"):
        there = remote.fs.exists(remote.path)
    if remote.fs.protocol == "local" and not there and not (writes and Path(remote.path).parent.is_dir()):
        raise RemoteFailed(f"The DVC remote '{remote.name}' is not there: {remote.path}. Mount it, or push first.")
    return remote


@contextmanager
def _told(remote: Any, what: str) -> Iterator[list[BaseException]]:
    """Turn what the remote's library says into a sentence; DVC itself only logs why a file could not be moved."""
    with _overheard() as heard:
        try:
            yield heard
        except PerennialError:
            raise
        except Exception as error:
            cause = heard[0] if heard else error
            mend = "Nothing is lost here: the same command tries again."
            if _is_refusal(cause):
                what, mend = "refuses", "Give it the right user or key: `dvc remote modify --local`."
            raise RemoteFailed(f"The DVC remote '{remote.name}' {what}: {reason_of(cause)}. {mend}") from error


def _is_refusal(error: BaseException) -> bool:
    from dvc_objects.fs.errors import AuthError

    words = str(error).casefold()
    return isinstance(error, (PermissionError, AuthError)) or any(word in words for word in REFUSALS)


@contextmanager
def _overheard() -> Iterator[list[BaseException]]:
    """The errors that DVC logs instead of raising them."""
    heard: list[BaseException] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1]:
                heard.append(record.exc_info[1])

    ear, talkers = Ear(), [logging.getLogger(name) for name in ("dvc", "dvc_data", "dvc_objects")]
    before = [(each.level, each.propagate) for each in talkers]
    try:
        for each in talkers:
            each.addHandler(ear)
            each.setLevel(logging.ERROR)
            each.propagate = False
        yield heard
    finally:
        for each, (level, propagate) in zip(talkers, before, strict=True):
            each.removeHandler(ear)
            each.setLevel(level)
            each.propagate = propagate
