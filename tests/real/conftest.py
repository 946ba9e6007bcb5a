"""Models with their real weights, where `perennial fetch-model` has brought them; otherwise these tests are skipped."""

import pytest

from tasks.sources.hub import MODELS


@pytest.fixture(scope="session")
def real():
    """The folder of a model by its short name."""

    def folder(name):
        path = MODELS.expanduser() / name
        if not path.is_dir():
            pytest.skip(f"{path} is not there; `perennial fetch-model {name}` brings it")
        return path

    return folder
