"""A user's memories at hand: read again only when they have changed, and of many only those near a message scored."""

import sqlite3
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.memory.store import Memory, embedded, memories_of, touch
from tasks.retrieval.search import Finder, Found

if TYPE_CHECKING:
    from tasks.retrieval.index import Index
    from tasks.retrieval.pgvector import PgIndex

ON_A_SERVER = "pgvector"  # the index whose vectors are in PostgreSQL
MANY = 1000  # memories: up to so many all are scored
NEAR = 100  # of more, those whose vectors are nearest to the message's


@dataclass
class Known:
    """One user's valid memories as they were read last; ten thousand take 60 ms to read and to check."""

    state: tuple[object, ...] = ()
    memories: list[Memory] = field(default_factory=list)

    def read(self, connection: sqlite3.Connection, user: str, now: datetime) -> list[Memory]:
        """The user's valid memories, see `memories_of`."""
        state = self._state(connection, user, now)
        if state != self.state:
            self.memories, self.state = memories_of(connection, user, now), state
        return self.memories

    def gone(self, connection: sqlite3.Connection, user: str, now: datetime) -> set[str]:
        """The texts that were among the memories when they were read last, and are no longer."""
        before = self.memories
        return {each.text for each in before} - {each.text for each in self.read(connection, user, now)}

    def used(self, connection: sqlite3.Connection, user: str, memory: Memory, now: datetime, encoder: str = "") -> None:
        """Note that a memory was retrieved, and by the vector of which encoder; it changes none."""
        touch(connection, user, [memory.id], now)
        if encoder:
            embedded(connection, user, [memory.id], encoder)
        self.state = self._state(connection, user, now)

    def _state(self, connection: sqlite3.Connection, user: str, now: datetime) -> tuple[object, ...]:
        # data_version counts what others wrote; a key that speaks of a day means another one after midnight
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        return connection, user, version, connection.total_changes, now.date(), now.utcoffset()


class Near:
    """Finds what fits among memories of any number: of many, the user's index chooses those that the ranker scores."""

    def __init__(self, finder: Finder, folder: Path, user: str, kind: str):
        """Make nothing yet.

        Args:
            finder: the retriever.
            folder: of all users' indexes.
            user: whose memories they are.
            kind: of the index: auto, flat, hnsw, ivf, or pgvector, on the server that PERENNIAL_PGVECTOR names.
        """
        self.finder, self.folder, self.user, self.kind = finder, folder, user, kind
        self._index: Any = None  # a UserIndex or a PgIndex
        self._current: Index | PgIndex
        self._open = ExitStack()  # the connection to the server, closed with the process
        self._texts: list[str] = []  # of the last call
        self._places: dict[int, int] = {}  # number -> place in the texts
        self._numbers: dict[str, int] = {}

    def find(self, message: str, texts: list[str]) -> list[Found]:
        """The best memory, if it reaches the threshold."""
        if len(texts) <= MANY:
            return self.finder.find(message, texts)
        if texts != self._texts or self._index is None:  # to compare ten thousand strings takes less than a millisecond
            self._places = {self._number(text): place for place, text in enumerate(texts)}
            self._current = self._brought_up_to_date((number, texts[place]) for number, place in self._places.items())
            self._texts = texts
        ids, _ = self._current.search(self.finder.encoder.message_vector(message), NEAR)
        near = sorted(self._places[each] for each in ids.tolist())
        return [Found(near[place], score) for place, score in self.finder.find(message, [texts[each] for each in near])]

    def drop(self) -> None:
        """Delete the vectors of the user's memories."""
        self._open.close()
        self._index = None
        self._numbers.clear()
        drop_vectors(self.folder, self.user, self.kind)

    def _brought_up_to_date(self, rows: Iterable[tuple[int, str]]) -> "Index | PgIndex":
        encoder, encoder_sum = self.finder.encoder, self.finder.encoder_sum
        index = self._index  # another thread may drop it meanwhile
        if self.kind == ON_A_SERVER:
            from tasks.retrieval import pgvector

            if index is None:
                width = len(encoder.message_vector(""))
                index = self._index = self._open.enter_context(pgvector.opened(self.user, encoder_sum, width))
            return index.current(rows, encoder.vectors)
        from tasks.retrieval.index_cache import UserIndex

        if index is None:
            index = self._index = UserIndex(self.folder, self.user, encoder_sum, encoder.vectors, self.kind)
        return index.current(rows)

    def _number(self, text: str) -> int:
        from tasks.retrieval.index_cache import digest

        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = int.from_bytes(digest(text)[:8], "big") >> 1  # an id has 63 bits
        return number


def drop_vectors(folder: Path, user: str, kind: str) -> None:
    """Delete what an index of this kind holds of a user."""
    from tasks.retrieval import index_cache, pgvector

    index_cache.drop(folder, user)
    if kind == ON_A_SERVER:
        pgvector.drop(user)
