"""A user's vectors in PostgreSQL with pgvector, over the network: for those who outgrow one machine.

It answers what tasks/retrieval/index.py answers. Each user has a table of their own, the only one that a connection's
statements name: another's rows are not filtered out, they are elsewhere. Like an index file the table is a cache of the
store, emptied for another encoder. No call waits longer than `ANSWER_SECONDS` for a server that is down or stuck.
"""

import hashlib
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Timer
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.errors import BadInput, Busy
from tasks.memory.store import checked_user
from tasks.retrieval.index import Nearest, paired
from tasks.retrieval.index_cache import Embed, Rows, differences, digest

if TYPE_CHECKING:
    from psycopg import Connection, Cursor
    from psycopg.sql import Composed

ADDRESS = "PERENNIAL_PGVECTOR"  # the environment variable
SCHEMA = "perennial"
CONNECT_SECONDS = 4
STATEMENT_SECONDS = 8  # then the server gives up,
ANSWER_SECONDS = 10  # and then, should it be stuck, this side does
GRAPH_SECONDS = 3600  # to build one
GRAPH_MEMORY = "512MB"
BATCH = 500  # rows per statement
SETTING_UP = 7_003_512_406  # the advisory lock's number: two who make a table at once would get in each other's way

ENDED = "57P"  # how PostgreSQL's codes of a server that shuts down or crashed begin
REFUSALS = ("authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry")

TABLE = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE SCHEMA IF NOT EXISTS perennial;
DROP TABLE IF EXISTS {table};
CREATE TABLE {table} (id bigint PRIMARY KEY, digest bytea NOT NULL, vector vector({width}) NOT NULL);
ALTER TABLE {table} ALTER vector SET STORAGE MAIN;
COMMENT ON TABLE {table} IS {mark}
"""  # MAIN: wide vectors stay in their row, as a search reads them all
# <#> is the negative inner product: of unit vectors the cosine's, and unlike <=> a number also for a vector of zeros
SEARCH = "SELECT id, -(vector <#> %(vector)s) FROM {table} ORDER BY vector <#> %(vector)s, id LIMIT %(k)s"
GRAPH = "CREATE INDEX IF NOT EXISTS {graph} ON {table} USING hnsw (vector vector_ip_ops)"
# from the catalogue itself: obj_description(to_regclass(...)) may remember what was there before a lock was waited for
MARK = """
SELECT description FROM pg_description JOIN pg_class ON objoid = pg_class.oid AND objsubid = 0
JOIN pg_namespace ON relnamespace = pg_namespace.oid WHERE nspname = %s AND relname = %s
"""
SETTINGS = {
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "hnsw.ef_search": "200",  # candidates of a search in a graph
    "hnsw.iterative_scan": "strict_order",
}


@contextmanager
def opened(user: str, encoder: str, width: int, address: str | None = None) -> Iterator["PgIndex"]:
    """Connect to the server and prepare the user's table.

    Args:
        user: whose vectors are read and written.
        encoder: the sum of the encoder's bytes; vectors of another are deleted.
        width: of its vectors.
        address: postgresql://user:password@host/database; what PERENNIAL_PGVECTOR says, if not given.

    Raises:
        BadInput: no address, a wrong one, or the login is refused.
        Busy: the server doesn't answer; also out of every method of the index.
    """
    connection = _connected(address)
    try:
        index = PgIndex(connection, _table(user))
        index._prepare(encoder, width)
        yield index
    finally:
        connection.close()


def drop(user: str, address: str | None = None) -> None:
    """Delete the user's vectors, with their table."""
    connection = _connected(address)
    try:
        PgIndex(connection, _table(user))._run("DROP TABLE IF EXISTS {table}")
    finally:
        connection.close()


class PgIndex:
    """One user's vectors on the server. For one thread at a time."""

    def __init__(self, connection: "Connection[Any]", table: str):
        self._connection, self._table = connection, table

    def __len__(self) -> int:
        return int(self._run("SELECT count(*) FROM {table}").fetchall()[0][0])

    def add(self, ids: Sequence[int] | np.ndarray, vectors: np.ndarray) -> None:
        """Add unit vectors, [ids, width]; an id that is here already gets the new vector."""
        self._put(*paired(ids, vectors), digests={})

    def remove(self, ids: Sequence[int] | np.ndarray) -> int:
        """Remove vectors and return how many there were."""
        return self._run("DELETE FROM {table} WHERE id = ANY(%(ids)s)", ids=np.asarray(ids, np.int64).tolist()).rowcount

    def search(self, vector: np.ndarray, k: int) -> Nearest:
        """The k nearest ids and their cosines, best first; of equal ones the lower id stands first."""
        rows = self._run(SEARCH, vector=np.asarray(vector, np.float32), k=max(k, 0)).fetchall()
        return np.array([id for id, _ in rows], np.int64), np.array([cosine for _, cosine in rows], np.float32)

    def current(self, rows: Rows, embed: Embed) -> "PgIndex":
        """Make it the index of exactly these rows; what changed is embedded."""
        texts = dict(rows)
        digests = {id: digest(text) for id, text in texts.items()}
        known = dict(self._run("SELECT id, digest FROM {table}").fetchall())
        gone, fresh = differences(known, digests)
        vectors = embed([texts[id] for id in fresh]) if fresh else np.empty((0, 0))
        if gone:
            self.remove(gone)
        self._put(*paired(fresh, vectors), digests=digests)
        return self

    def build_graph(self) -> None:
        """Build an HNSW graph, if there is none: from then on searches are quicker, and approximate."""
        with _answered(self._connection, GRAPH_SECONDS), self._connection.transaction():
            for name, value in (("statement_timeout", f"{GRAPH_SECONDS}s"), ("maintenance_work_mem", GRAPH_MEMORY)):
                self._connection.execute("SELECT set_config(%s, %s, true)", (name, value))
            self._connection.execute(self._sql(GRAPH))

    def _prepare(self, encoder: str, width: int) -> None:
        from pgvector.psycopg import register_vector

        mark = f"{encoder} {width}"
        with _answered(self._connection, ANSWER_SECONDS):
            for name, value in SETTINGS.items():
                self._connection.execute("SELECT set_config(%s, %s, false)", (name, value))
            if self._mark() != mark:
                with self._connection.transaction():
                    self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (SETTING_UP,))
                    if self._mark() != mark:  # nor has another process made it meanwhile
                        self._connection.execute(self._sql(TABLE, mark=mark, width=width))
            register_vector(self._connection)

    def _mark(self) -> str | None:
        """Whose vectors the table holds; its comment says so."""
        row = self._connection.execute(MARK, (SCHEMA, self._table)).fetchone()
        return row[0] if row else None

    def _put(self, ids: np.ndarray, vectors: np.ndarray, digests: dict[int, bytes]) -> None:
        for start in range(0, len(ids), BATCH):
            some = ids[start : start + BATCH].tolist()
            with _answered(self._connection, ANSWER_SECONDS), self._connection.transaction():
                cursor = self._connection.execute(self._sql("DELETE FROM {table} WHERE id = ANY(%s)"), (some,))
                with cursor.copy(self._sql("COPY {table} FROM STDIN (FORMAT BINARY)")) as copy:
                    copy.set_types(["int8", "bytea", "vector"])
                    for id, vector in zip(some, vectors[start : start + BATCH], strict=True):
                        copy.write_row((id, digests.get(id, b""), vector))

    def _run(self, query: str, **values: Any) -> "Cursor[Any]":
        with _answered(self._connection, ANSWER_SECONDS):
            return self._connection.execute(self._sql(query), values)

    def _sql(self, query: str, **literals: Any) -> "Composed":
        from psycopg.sql import SQL, Identifier, Literal

        names = {"table": Identifier(SCHEMA, self._table), "graph": Identifier(f"{self._table}_graph")}
        return SQL(query).format(**names, **{name: Literal(value) for name, value in literals.items()})


def _table(user: str) -> str:
    """The name of the user's table; PostgreSQL cuts names at 63 bytes, and a user's may have 64."""
    return f"vectors_{hashlib.sha256(checked_user(user).encode()).hexdigest()[:40]}"


def _connected(address: str | None) -> "Connection[Any]":
    address = address or os.environ.get(ADDRESS)
    if not address:
        raise BadInput(f"{ADDRESS} isn't set. Set it to postgresql://user:password@host/database; see docs/index.md.")
    try:
        import pgvector  # noqa: F401
        import psycopg
    except ImportError as error:
        raise BadInput("Vectors in PostgreSQL need more packages: pip install 'perennial-llm[pgvector]'.") from error
    # never the driver's own words: of an address that it can't parse they may quote the password
    try:
        return psycopg.connect(address, autocommit=True, connect_timeout=CONNECT_SECONDS)
    except psycopg.ProgrammingError:
        raise BadInput(f"{ADDRESS} is no address. Write postgresql://user:password@host/database.") from None
    except psycopg.Error as error:
        if any(words in str(error) for words in REFUSALS):
            raise BadInput(f"The memory server refuses the user, password or database of {ADDRESS}.") from None
        raise Busy(f"The memory server of {ADDRESS} can't be reached. Start it, or correct the address.") from None


@contextmanager
def _answered(connection: "Connection[Any]", seconds: float) -> Iterator[None]:
    """Turn what goes wrong into a sentence, and wait no longer: the line is cut then, and that goes wrong, too."""
    from psycopg import Error, errors

    timer = Timer(seconds, _cut, [connection])
    timer.daemon = True
    timer.start()
    try:
        yield
    except (errors.InsufficientPrivilege, errors.UndefinedFile, errors.FeatureNotSupported) as error:
        raise BadInput(
            f"The database of {ADDRESS} lacks pgvector, or its user may make no schema. "
            "As its owner: CREATE EXTENSION vector; GRANT CREATE ON DATABASE ... TO ..."
        ) from error
    except Error as error:
        ended = connection.closed or (error.sqlstate or ENDED).startswith(ENDED)
        reason = "stopped answering" if ended else f"answered with error {error.sqlstate}"
        raise Busy(f"The memory server of {ADDRESS} {reason}. Try again when it runs.") from error
    finally:
        timer.cancel()


def _cut(connection: "Connection[Any]") -> None:
    from psycopg import Error

    with suppress(OSError, Error), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)
