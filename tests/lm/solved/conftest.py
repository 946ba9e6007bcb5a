import pytest

from tasks.solved_params import Solved
from tests.every_step import STAGE2, Timeline

SMALL = Solved(width=512, codes=512, window=8, grams=128)
SOLVED = STAGE2.model_copy(update={"how": "solved", "solved": SMALL})


@pytest.fixture(scope="session")
def begun(tmp_path_factory):
    """What comes before any slice."""
    root = tmp_path_factory.mktemp("begun")
    Timeline(root).begin()
    return root
