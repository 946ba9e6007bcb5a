"""The chat in the terminal: a prompt, an answer, and a dim line that says what stood behind it."""

import io
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from tasks.errors import Corrupt
from tasks.memory.means import ALWAYS, INDEXES, load_means
from tasks.memory.neutral import visible
from tasks.memory.store import checked_user, forget_all, memories_of, opened
from tasks.memory.turn import MEMORY, Means, Retrieved, Turn, take_turn
from tasks.params import Chat
from tasks.retrieval.policy import Policy

HELP = {
    "/memory": "what is remembered of you",
    "/reset": "forget all of it and your documents, for good",
    "/help": "these lines",
    "/exit": "leave",
}


def converse(
    lm: Path,
    retriever: Path | None,
    store: Path,
    user: str,
    settings: Chat,
    console: Console,
    documents: Policy = ALWAYS,
) -> None:
    """Talk until the user leaves.

    Args:
        lm: the language model's folder.
        retriever: the retriever's folder (see tasks/retriever.py); None to talk without retrieval.
        store: the SQLite file of memories.
        user: whose memories are read and written.
        settings: params.yaml's section `chat`.
        console: where it is shown.
        documents: how they are used, see load_means.
    """
    checked_user(user)
    with console.status("loading the model"):
        means = load_means(lm, retriever, settings, user, store.parent / INDEXES, documents)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    with suppress(ImportError):
        import readline  # noqa: F401 (gives input() its history, and deletes Hangul as a whole)
    console.print("Say something; /help lists the commands.", style="dim")
    with suppress(EOFError, KeyboardInterrupt):
        try:
            with opened(store, settings.memories) as connection:
                talk(connection, user, means, console)
        except Corrupt as error:
            console.print(f"{error} Until then nothing is remembered.", style="yellow", markup=False, soft_wrap=True)
            with TemporaryDirectory() as folder, opened(Path(folder) / store.name) as connection:
                talk(connection, user, means, console)
    console.print("Goodbye.", style="dim")


def talk(connection: sqlite3.Connection, user: str, means: Means, console: Console) -> None:
    """Read lines and answer them until /exit; the end of the input is an EOFError."""
    while (line := console.input("[bold]> [/bold]").strip()) != "/exit":
        if line.startswith("/"):
            command(line, connection, user, means, console)
        elif line:
            show(take_turn(connection, user, line, means), console)


def command(line: str, connection: sqlite3.Connection, user: str, means: Means, console: Console) -> None:
    """Carry out a line that begins with a slash."""
    if line == "/memory":
        table = Table("key", "value", "since", box=None, header_style="dim")
        known = memories_of(connection, user)
        for memory in known:
            table.add_row(*map(_plain, (memory.key, memory.value, memory.created)))
        console.print(table if known else "Nothing is remembered yet.")
    elif line == "/reset":
        count = forget_all(connection, user)
        means.drop()
        console.print(f"{count} {'memory' if count == 1 else 'memories'} forgotten.")
    else:
        if line != "/help":
            console.print(f"There is no {_plain(line)}.", highlight=False)
        for name, meaning in HELP.items():
            console.print(f"  {name:<9}{meaning}", highlight=False)


def show(turn: Turn, console: Console) -> None:
    """Print an answer, what it comes from with the retriever's score, and what was saved."""
    console.print(_plain(turn.answer), highlight=False, soft_wrap=True)
    for name, value in turn.instructions.items():
        _note(f"{name}: {value}", console)
    for each in turn.retrieved:
        _note(f"{_origin(each)} ({each.score:.2f})", console)
    if turn.saved:
        _note(f"remembered: {turn.saved.key}: {turn.saved.value}", console)


def _origin(retrieved: Retrieved) -> str:
    if retrieved.source == MEMORY:
        return f"memory: {retrieved.text.removeprefix('[').removesuffix(']')}"
    return f"from {retrieved.source}"


def _note(text: str, console: Console) -> None:
    console.print(_plain(f"  {text}"), style="dim", highlight=False, soft_wrap=True)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(visible(text))
