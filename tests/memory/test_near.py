"""Many memories are found like few ones, and reading them once is enough until they change."""

import sqlite3
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from tasks.memory import near as module
from tasks.memory.near import Known, Near
from tasks.memory.store import forget, memories_of, opened, remember
from tasks.memory.turn import Means, take_turn
from tasks.retrieval.index_cache import UserIndex
from tasks.retrieval.rankers import Dense
from tasks.retrieval.search import Finder, Found
from tests.memory.conftest import Model

SEOUL = timezone(timedelta(hours=9))
NOON = datetime(2024, 5, 1, 12, tzinfo=SEOUL)


class Numbers:
    """Stands in for a sentence encoder: a text's vector is a fixed function of its letters."""

    prompts, default_prompt_name = {}, None

    def encode(self, texts, task=None, prompt=None, normalize_embeddings=True):
        vectors = [np.random.default_rng(sum(text.encode()) + len(text)).standard_normal(32) for text in texts]
        return np.stack([vector / np.linalg.norm(vector) for vector in vectors]).astype(np.float32)


@pytest.fixture
def finder(tmp_path):
    dense = Dense(Numbers())
    (tmp_path / "retriever").mkdir()
    (tmp_path / "retriever/manifest.json").write_text("{}")
    return Finder(tmp_path / "retriever", dense, dense, dense, 0.2, 0.2, 0.1)


def test_of_many_memories_the_same_one_is_found_as_if_all_were_scored(finder, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MANY", 50)
    monkeypatch.setattr(module, "NEAR", 20)
    texts = [f"[key {number}: value {number * 7}]" for number in range(400)]
    close = Near(finder, tmp_path / "indexes", "ann", "auto")
    for message in ("one", "where is it?", "오늘 뭐 하지?", texts[17]):
        assert close.find(message, texts) == finder.find(message, texts)
    assert (tmp_path / "indexes/ann.index").exists()
    close.drop()
    assert not (tmp_path / "indexes/ann.index").exists()
    assert close.find("one", texts[::-1]) == finder.find("one", texts[::-1])


@pytest.fixture
def many(finder, tmp_path, monkeypatch):
    """The store of one who has many memories, their index, and what a turn is taken with."""
    monkeypatch.setattr(module, "MANY", 5)
    close = Near(finder, tmp_path / "indexes", "ann", "auto")
    with opened(tmp_path / "m.db") as connection:
        for number in range(9):
            remember(connection, "ann", f"key {number}", f"value {number}", NOON)
        yield connection, Means(find=close.find, find_chunks=None, answer=Model(), drop=close.drop), close


@pytest.mark.parametrize("at", ["vectors", "message_vector"])
def test_what_is_forgotten_during_a_turn_stays_forgotten_in_the_index_too(many, tmp_path, monkeypatch, at):
    connection, means, close = many
    encoder, file = close.finder.encoder, tmp_path / "indexes/ann.index"
    real = getattr(encoder, at)

    def meanwhile(given):
        with opened(tmp_path / "m.db") as another:
            forget(another, "ann", "key 3", NOON)
        close.drop()
        return real(given)

    monkeypatch.setattr(encoder, at, meanwhile)
    monkeypatch.setattr(Finder, "find", lambda self, message, texts: [Found(texts.index("[key 3: value 3]"), 1.0)])
    assert take_turn(connection, "ann", "What is key 3?", means, NOON).retrieved == ()
    assert not file.exists()
    monkeypatch.undo()
    monkeypatch.setattr(module, "MANY", 5)
    take_turn(connection, "ann", "What is key 4?", means, NOON)
    assert len(UserIndex(tmp_path / "indexes", "ann", close.finder.encoder_sum, encoder.vectors)._known) == 8


def test_a_memory_that_comes_during_a_turn_costs_no_index(many, tmp_path, monkeypatch):
    connection, means, close = many
    encoder, real = close.finder.encoder, close.finder.encoder.vectors

    def meanwhile(texts):
        with opened(tmp_path / "m.db") as another:
            remember(another, "ann", "town", "Cork", NOON)
        return real(texts)

    monkeypatch.setattr(encoder, "vectors", meanwhile)
    take_turn(connection, "ann", "What is key 3?", means, NOON)
    assert (tmp_path / "indexes/ann.index").exists()


def test_few_memories_need_no_index(finder, tmp_path):
    Near(finder, tmp_path / "indexes", "ann", "auto").find("one", ["[a: b]", "[c: d]"])
    assert not (tmp_path / "indexes").exists()


@pytest.fixture
def reads(monkeypatch):
    """How often memories were read from the store."""
    counted = []
    monkeypatch.setattr(module, "memories_of", lambda *of: counted.append(1) or memories_of(*of))
    return counted


def test_memories_are_read_again_after_a_change_and_only_then(tmp_path, reads):
    known = Known()
    with opened(tmp_path / "m.db") as connection, opened(tmp_path / "m.db") as another:
        remember(connection, "ann", "town", "Cork", NOON)
        (only,) = known.read(connection, "ann", NOON)
        known.used(connection, "ann", only, NOON)
        assert known.read(connection, "ann", NOON) == [only] and len(reads) == 1
        remember(connection, "ann", "town", "Leeds", NOON)
        assert [each.value for each in known.read(connection, "ann", NOON)] == ["Leeds"]
        remember(another, "ann", "town", "Ghent", NOON)
        assert [each.value for each in known.read(connection, "ann", NOON)] == ["Ghent"]
        forget(another, "ann", "town", NOON)
        assert known.read(connection, "ann", NOON) == [] and len(reads) == 4


def test_a_new_day_a_new_zone_and_another_user_are_read_anew(tmp_path, reads):
    known = Known()
    with opened(tmp_path / "m.db") as connection:
        remember(connection, "ann", "내일 일정", "치과", NOON)
        assert [each.key for each in known.read(connection, "ann", NOON)] == ["내일 일정"]
        assert [each.key for each in known.read(connection, "ann", NOON + timedelta(days=1))] == ["오늘 일정"]
        assert known.read(connection, "bob", NOON + timedelta(days=1)) == []
        known.read(connection, "ann", NOON.astimezone(timezone(timedelta(hours=-8))))
        assert len(reads) == 4


def test_a_closed_connection_is_no_excuse_for_an_old_answer(tmp_path):
    known = Known()
    for value in ("Cork", "Leeds"):
        with opened(tmp_path / "m.db") as connection:
            remember(connection, "ann", "town", value, NOON)
            assert [each.value for each in known.read(connection, "ann", NOON)] == [value]
    with pytest.raises(sqlite3.ProgrammingError):
        known.read(connection, "ann", NOON)


def test_a_memory_that_was_found_names_the_encoder_that_found_it(tmp_path):
    with opened(tmp_path / "m.db") as connection:
        remember(connection, "ann", "town", "Cork", NOON)
        known = Known()
        (memory,) = known.read(connection, "ann", NOON)
        known.used(connection, "ann", memory, NOON, "a" * 64)
        assert connection.execute("SELECT encoder FROM memories").fetchall() == [("a" * 64,)]
        assert known.read(connection, "ann", NOON) == [memory]
