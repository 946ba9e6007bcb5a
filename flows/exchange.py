"""`perennial push` and `perennial pull`: what was built goes to the DVC remote, and comes from it."""

from pathlib import Path

from rich.console import Console

from flows import graph as graphs
from flows import remote, walk
from flows.progress import Progress


def push_timeline(root: Path) -> str:
    """Send what dvc.lock names and the run-cache; a sentence that says what was done.

    Raises:
        BadInput: there is no remote.
        RemoteFailed: it does not answer, or took only a part.
    """
    with graphs.opened(root) as graph:
        sent = remote.push(graph)
    return f"Pushed {sent} files to the DVC remote. Commit dvc.lock and params.yaml with git, so that others find them."


def pull_timeline(root: Path, console: Console) -> str:
    """Restore all that the remote has for the data, code and settings here; a sentence that says what is left.

    Raises:
        BadInput: there is no remote.
        Busy: a run is at work.
        RemoteFailed: it does not answer.
    """
    with graphs.opened(root) as graph:
        remote.fetch(graph)
    with Progress(console) as progress, walk.opened(root, progress, sync=True) as run:
        left = walk.take(run)
    done = f"{run.count('restored')} of {len(run.outcomes) + len(left)} steps were restored"
    if left:
        return f"{done}, {len(left)} are to be done: `perennial run`. The first is {left[0]}."
    return f"{done}, the others were here. Nothing is left to train."
