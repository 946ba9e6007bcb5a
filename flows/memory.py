"""`perennial memory`: what is remembered of a user: list, forget, export, import, verify, pin."""

import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.project import Verbose, clock, console, enter
from tasks.corpus.text import typed
from tasks.errors import BadInput, Corrupt

if TYPE_CHECKING:
    from tasks.memory.store import Memory

memory = typer.Typer(help="What is remembered of a user: list it, forget it, take it elsewhere.", no_args_is_help=True)


def shown_name(text: str) -> str:
    """The normal form of a key or a document's name.

    Raises:
        BadInput: there is nothing in it that can be seen.
    """
    if form := typed(text):
        return form
    raise BadInput("An empty name was given. Name a key or a document as `perennial memory list` shows it.")


User = Annotated[str, typer.Option(parser=typed, metavar="NAME", help="Whose memories.")]
Key = Annotated[str, typer.Argument(parser=shown_name, metavar="KEY", help="As `list` shows it.")]


@memory.command("list")
def list_memories(
    user: User = "me",
    history: Annotated[
        str | None, typer.Option(parser=shown_name, metavar="KEY", help="Every value that this key ever had.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Show what is remembered, since when and until when, and the documents that were read."""
    from tasks.memory.store import chunks_of, history_of, memories_of

    with _store(verbose) as connection:
        if history is not None:
            _show(history_of(connection, user, history), f"'{history}' never had a value.")
            return
        _show(memories_of(connection, user), f"Nothing is remembered of {user}.")
        sources = [chunk.source for chunk in chunks_of(connection, user)]
    for source in dict.fromkeys(sources):
        _say(f"{source}: {_count(sources.count(source), 'passage')}")


@memory.command()
def forget(
    key: Annotated[
        str | None,
        typer.Argument(parser=shown_name, metavar="[KEY]", help="As `list` shows it; its history goes, too."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All memories and documents.")] = False,
    document: Annotated[
        str | None, typer.Option(parser=shown_name, metavar="SOURCE", help="What was read from this document.")
    ] = None,
    user: User = "me",
    verbose: Verbose = False,
) -> None:
    """Delete a memory, a document or everything, and overwrite the bytes."""
    from tasks.memory import store

    if [key is not None, document is not None, everything].count(True) != 1:
        raise BadInput("Name what to forget: a KEY, or --document SOURCE, or --all.")
    from flows.chat import STORE
    from tasks.memory.means import INDEXES
    from tasks.memory.near import drop_vectors
    from tasks.params import PARAMS, load_params

    def drop() -> None:
        drop_vectors(STORE.parent / INDEXES, user, load_params(PARAMS).chat.index)

    with _store(verbose) as connection:
        drop()  # first, as a server of vectors may be away: then nothing is forgotten by half,
        if key is not None:
            count, what = store.forget(connection, user, key), "value"
        elif document is not None:
            count, what = store.forget_source(connection, user, document), "passage"
        else:
            count, what = store.forget_all(connection, user), ""
        drop()  # and again, as a turn of a chat may have written them meanwhile
        if everything:
            _say(f"All that was kept of {user} is forgotten: {_count(count, 'valid memory')}.")
            return
    if not count:
        raise BadInput(f"There is no '{key or document}' of {user}. `perennial memory list` shows what there is.")
    _say(f"'{key or document}' is forgotten: {_count(count, what)}.")


@memory.command("export")
def export_memories(
    file: Annotated[Path, typer.Argument(help="A new file.")], user: User = "me", verbose: Verbose = False
) -> None:
    """Write all that is kept of a user into a file: memories, their history, what was read."""
    from tasks.memory.transfer import exported

    file = _new(file)
    with _store(verbose) as connection:
        done = exported(connection, user)
    if not done.memories + done.chunks + done.lost:
        raise BadInput(f"Nothing is kept of {user}.")
    _write(file, done.text.encode())
    _say(f"{file}: {_count(done.memories, 'memory')}, history included, and {_count(done.chunks, 'passage')}.")
    if done.lost:
        raise Corrupt(f"{_count(done.lost, 'damaged row')} of the store could not be exported.")


@memory.command("import")
def import_memories(
    file: Annotated[Path, typer.Argument(help="What `export` wrote, or a list.")],
    user: User = "me",
    verbose: Verbose = False,
) -> None:
    """Take over an exported file, or an old list: one 'key: value' in square brackets per line."""
    from tasks.memory.transfer import imported

    file = file.absolute()
    with _store(verbose) as connection:
        done = imported(connection, user, file)
    _say(f"New for {user}: {_count(done.memories, 'memory')}, history included, and {_count(done.chunks, 'passage')}.")


@memory.command()
def verify(verbose: Verbose = False) -> None:
    """Check the whole store: its pages, the sum of every row, one valid value per key."""
    from tasks.memory import damage
    from tasks.memory.faults import file_of

    with _store(verbose) as connection:
        found, file = damage.verify(connection), file_of(connection)
    for problem in found.problems:
        _say(problem)
    intact = "can be exported" if found.problems else "intact"
    for user in sorted(found.memories | found.chunks):
        kept = f"{_count(found.memories[user], 'memory')}, history included, {_count(found.chunks[user], 'passage')}"
        _say(f"{user}: {kept} {intact}")
    if found.problems:
        raise Corrupt(
            f"{file} is damaged. Save what is intact (`perennial memory export FILE --user NAME`), "
            "move the store away, and import the files."
        )
    _say(f"{file} is sound.")


@memory.command()
def pin(
    key: Key,
    off: Annotated[bool, typer.Option("--off", help="No longer.")] = False,
    user: User = "me",
    verbose: Verbose = False,
) -> None:
    """Keep a memory when newer ones need its place."""
    from tasks.memory import store

    with _store(verbose) as connection:
        if not store.pin(connection, user, key, not off):
            raise BadInput(f"There is no '{key}' of {user}. `perennial memory list` shows what there is.")
    _say(f"'{key}' is {'no longer pinned' if off else 'pinned'}.")


def _store(verbose: bool) -> AbstractContextManager[sqlite3.Connection]:
    from flows.chat import STORE
    from tasks.memory.store import opened
    from tasks.params import PARAMS, load_params

    root = enter(verbose)
    return opened(root / STORE, load_params(root / PARAMS).chat.memories)


def _new(file: Path) -> Path:
    """Where a file can be made that is not there yet."""
    try:
        file = file.resolve()
        if file.is_dir():
            raise BadInput(f"{file} is a folder. Name a new file in it.")
        if file.exists():
            raise BadInput(f"{file} exists already. Name another file.")
    except (OSError, RuntimeError) as error:
        raise _unwritable(file, error) from error
    return file


def _write(file: Path, content: bytes) -> None:
    from tasks.artifact import write_file

    try:
        write_file(file, content, mode=0o600)
    except OSError as error:
        raise _unwritable(file, error) from error


def _unwritable(file: Path, error: Exception) -> BadInput:
    return BadInput(f"{file} can't be written ({getattr(error, 'strerror', error)}). Name another file.")


def _show(memories: "list[Memory]", otherwise: str) -> None:
    table = Table("key", "value", "since", "until", "from", "", box=None, header_style="dim")
    for each in memories:
        until = clock(each.expires) if each.expires else ""
        shown = (each.key, each.value, clock(each.created), until, each.source, "pinned" if each.pinned else "")
        table.add_row(*map(_plain, shown))
    if memories:
        console.print(table)
    else:
        _say(otherwise)


def _say(text: str) -> None:
    console.print(_plain(text), highlight=False, soft_wrap=True)


def _plain(text: str) -> str:
    from tasks.memory.neutral import visible

    return escape(visible(text))


def _count(number: int, what: str) -> str:
    several = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{number:,} {what if number == 1 else several}"
