"""The chat's memories on a server: found as without an index, and forgotten there, too."""

import pytest

from tasks.memory import near
from tasks.memory.near import ON_A_SERVER, Near
from tasks.retrieval.pgvector import ADDRESS, opened
from tests.memory.test_near import finder  # noqa: F401
from tests.retrieval.pgvector.conftest import ANNA

TEXTS = [f"[key {number}: value {number * 7}]" for number in range(300)]

pytestmark = pytest.mark.server


def test_many_memories_are_found_on_the_server_and_forgotten_there(finder, address, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv(ADDRESS, address)
    monkeypatch.setattr(near, "MANY", 50)
    close = Near(finder, tmp_path / "indexes", ANNA, ON_A_SERVER)
    for message in ("one", "오늘 뭐 하지?", TEXTS[17]):
        assert close.find(message, TEXTS) == finder.find(message, TEXTS)
    assert close.find("one", TEXTS[:200]) == finder.find("one", TEXTS[:200])
    with opened(ANNA, finder.encoder_sum, 32, address) as index:
        assert len(index) == 200
    close.drop()
    with opened(ANNA, finder.encoder_sum, 32, address) as index:
        assert len(index) == 0
    assert not (tmp_path / "indexes").exists()
