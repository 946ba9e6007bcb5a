import os
import tempfile
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmarks.pgvector_server import PACKAGE, running
from tasks.errors import BadInput
from tasks.retrieval.pgvector import ADDRESS, drop, opened

ENCODER = "a" * 64
WIDTH = 16
ANNA, BERTA = "pytest.anna", "pytest.berta"  # no names of real users: the server may be a real one
ROWS = [(number, f"[key {number}: value {number}]") for number in range(1, 11)]


@pytest.fixture(scope="session")
def new_folder():
    """Makes folders that `nobody` may enter, as whom PostgreSQL runs if the tests are run by root."""
    with ExitStack() as stack:

        def make():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="perennial-pgvector-")))
            folder.chmod(0o755)
            return folder

        yield make


@pytest.fixture(scope="session")
def own_server(new_folder):
    """The address of a server that belongs to these tests."""
    if not find_spec(PACKAGE):
        pytest.skip(f"needs the package {PACKAGE}, which brings a PostgreSQL")
    with ExitStack() as stack:
        try:
            address = stack.enter_context(running(new_folder()))
        except BadInput as error:
            pytest.skip(f"no PostgreSQL can be started here: {error}")
        yield address


@pytest.fixture(scope="session")
def address(request):
    return os.environ.get(ADDRESS) or request.getfixturevalue("own_server")


@pytest.fixture
def index_of(address):
    """Opens a user's index, which nobody has used before, and deletes it after the test."""
    users = set()

    @contextmanager
    def open_it(user=ANNA, encoder=ENCODER, width=WIDTH):
        if user not in users:
            users.add(user)
            drop(user, address)
        with opened(user, encoder, width, address) as index:
            yield index

    yield open_it
    for user in users:
        drop(user, address)


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def some_vectors(count, seed=1):
    return unit(np.random.default_rng(seed).standard_normal((count, WIDTH)))


def embed(texts):
    return np.concatenate([some_vectors(1, int.from_bytes(text.encode(), "big")) for text in texts])
