"""A registry of a test's own."""

from contextlib import contextmanager

import pytest

from tasks.registry import store


@contextmanager
def registry_in(root):
    """A client of the registry in a folder, which is entered until the block ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
        patch.chdir(root)
        yield store.connect()
