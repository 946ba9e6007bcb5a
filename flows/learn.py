"""`perennial learn`: reads a user's documents, for the chat to look things up in."""

from collections import Counter
from pathlib import Path

from flows.chat import STORE
from tasks.errors import BadInput
from tasks.memory.store import checked_user, chunks_of, learn, opened
from tasks.retrieval.documents import Document, read_document


def learn_files(root: Path, files: list[Path], user: str) -> str:
    """Store the files' chunks, once all of them were read without a mistake; what became of each, line by line.

    A document is known by the file's name: one that was learnt before is replaced if it has changed.

    Raises:
        BadInput: a file can't be used, two have one name, or the user's name is no safe one.
    """
    checked_user(user)
    documents = [read_document(path) for path in files]
    for name, count in Counter(each.source for each in documents).items():
        if count > 1:
            raise BadInput(f"{count} files are named {name}, and a document is known by its name. Rename all but one.")
    with opened(root / STORE) as connection:
        before = Counter(chunk.source for chunk in chunks_of(connection, user))
        return "\n".join(_told(each, learn(connection, user, *each), before[each.source]) for each in documents)


def _told(document: Document, stored: int, before: int) -> str:
    count = len(document.chunks)
    chunks = f"{document.source}: {count} {'chunk' if count == 1 else 'chunks'}"
    if not stored:
        return f"{chunks}, as before"
    return f"{chunks} in place of {before}" if before else chunks
