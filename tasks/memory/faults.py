"""What SQLite complains of, as a sentence for the person who must act."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.errors import BadInput, Busy, Corrupt

IN_USE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
OUT_OF_REACH = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM,
                sqlite3.SQLITE_IOERR)  # fmt: skip
VERIFY = "`perennial memory verify` says what is damaged and what can be exported."
REPLACE = "Move it away or restore a copy."
MISUSE = (sqlite3.ProgrammingError, sqlite3.InterfaceError)  # a defect of ours


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn SQLite's errors in the block into ours.

    Args:
        path: the store's, as it is named in the sentence.
    """
    try:
        yield
    except MISUSE:
        raise
    except UnicodeDecodeError as error:  # of SQLite's own message about a damaged table
        raise Corrupt(f"{path} is no readable memory store. {REPLACE}") from error
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF  # text that is no UTF-8 has no code
        if code in IN_USE:
            raise Busy(f"{path} is in use by another process. Try again when it has finished.") from error
        if code in OUT_OF_REACH:
            raise BadInput(
                f"{path} can't be used ({error}). See to its permissions and to the disk's space."
            ) from error
        if code == sqlite3.SQLITE_NOTADB:
            raise Corrupt(f"{path} is no readable memory store. {REPLACE}") from error
        raise Corrupt(f"{path} is damaged ({error}). {VERIFY}") from error


def file_of(connection: sqlite3.Connection) -> str:
    """The store's path."""
    return str(connection.execute("PRAGMA database_list").fetchone()[2])
