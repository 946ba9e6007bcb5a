import shutil

import pytest

from tests.every_step import Timeline
from tests.lm.solved.brought import FIRST, LATER, NEWS, brought


@pytest.fixture(scope="session")
def begun(tmp_path_factory):
    """What comes before any slice."""
    root = tmp_path_factory.mktemp("begun")
    Timeline(root).begin()
    return root


@pytest.fixture(scope="session")
def whole(begun, tmp_path_factory):
    root = tmp_path_factory.mktemp("whole") / "root"
    shutil.copytree(begun, root)
    return brought(root, ("one", FIRST), ("two", NEWS), ("three", LATER))
