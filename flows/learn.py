"""`perennial learn`: reads a user's documents, for the chat to look things up in."""

from collections import Counter
from pathlib import Path

from flows.chat import STORE
from tasks.documents.passages import Document, read_document
from tasks.documents.reading import KINDS, pages_in
from tasks.errors import BadInput
from tasks.memory.store import checked_user, chunks_of, learn, opened


def learn_files(root: Path, files: list[Path], user: str) -> str:
    """Store the files' chunks, once all of them were read without a mistake; what became of each, line by line.

    A document is known by the file's name, or by its place in the folder that was named: one that was learnt before is
    replaced if it has changed.

    Raises:
        BadInput: a file can't be used, a folder has no pages, two have one name, or the user's name is no safe one.
    """
    checked_user(user)
    documents = [document for path in files for document in _documents(path)]
    for name, count in Counter(each.source for each in documents).items():
        if count > 1:
            raise BadInput(f"{count} files are named {name}, and a document is known by its name. Rename all but one.")
    with opened(root / STORE) as connection:
        before = Counter(chunk.source for chunk in chunks_of(connection, user))
        return "\n".join(_told(each, learn(connection, user, *each), before[each.source]) for each in documents)


def _documents(path: Path) -> list[Document]:
    if not path.is_dir():
        return [read_document(path)]
    if not (pages := pages_in(path)):
        raise BadInput(f"{path} has no pages: no file that ends in {', '.join(KINDS)}.")
    return [read_document(page, path) for page in pages]


def _told(document: Document, stored: int, before: int) -> str:
    count = len(document.chunks)
    chunks = f"{document.source}: {count} {'chunk' if count == 1 else 'chunks'}"
    if not stored:
        return f"{chunks}, as before"
    return f"{chunks} in place of {before}" if before else chunks
