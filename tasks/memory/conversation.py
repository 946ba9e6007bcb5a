"""The chat in the terminal: a prompt, an answer, and a dim line that says which memory was used."""

import io
import sqlite3
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tasks.memory.store import checked_user, forget_all, memories_of, opened
from tasks.memory.turn import Answer, Embed, Turn, take_turn

HELP = {
    "/memory": "what is remembered of you",
    "/reset": "forget all of it, for good",
    "/help": "these lines",
    "/exit": "leave",
}
KNOWN_VECTORS = 10_000


def converse(lm: Path, retriever: Path | None, store: Path, user: str, threshold: float, console: Console) -> None:
    """Talk until the user leaves.

    Args:
        lm: the language model's folder.
        retriever: the retriever's folder (see tasks/retriever.py); None to talk without retrieval.
        store: the SQLite file of memories.
        user: whose memories are read and written.
        threshold: the cosine from which a memory is used.
        console: where it is shown.
    """
    checked_user(user)
    with console.status("loading the model"):
        answer, embed = _answerer(lm), _embedder(retriever)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    with suppress(ImportError):
        import readline  # noqa: F401 (gives input() its history, and deletes Hangul as a whole)
    console.print("Say something; /help lists the commands.", style="dim")
    with opened(store) as connection, suppress(EOFError, KeyboardInterrupt):
        talk(connection, user, embed, answer, threshold, console)
    console.print("Goodbye.", style="dim")


def talk(
    connection: sqlite3.Connection, user: str, embed: Embed | None, answer: Answer, threshold: float, console: Console
) -> None:
    """Read lines and answer them until /exit; the end of the input is an EOFError."""
    while (line := console.input("[bold]> [/bold]").strip()) != "/exit":
        if line.startswith("/"):
            command(line, connection, user, console)
        elif line:
            show(take_turn(connection, user, line, embed, answer, threshold), console)


def command(line: str, connection: sqlite3.Connection, user: str, console: Console) -> None:
    """Carry out a line that begins with a slash."""
    if line == "/memory":
        table = Table("key", "value", "since", box=None, header_style="dim")
        known = memories_of(connection, user)
        for memory in known:
            table.add_row(*(_plain(part) for part in memory))
        console.print(table if known else "Nothing is remembered yet.")
    elif line == "/reset":
        count = forget_all(connection, user)
        console.print(f"{count} {'memory' if count == 1 else 'memories'} forgotten.")
    else:
        if line != "/help":
            console.print(f"There is no {_plain(line)}.", highlight=False)
        for name, meaning in HELP.items():
            console.print(f"  {name:<9}{meaning}", highlight=False)


def show(turn: Turn, console: Console) -> None:
    """Print an answer, the memory behind it with its cosine, and what was saved."""
    console.print(_plain(turn.answer or "(no answer)"), highlight=False, soft_wrap=True)
    if turn.retrieved:
        memory, score = turn.retrieved
        _note(f"memory: {memory.key}: {memory.value} ({score:.2f})", console)
    if turn.saved:
        _note(f"remembered: {turn.saved.key}: {turn.saved.value}", console)


def _note(text: str, console: Console) -> None:
    console.print(_plain(f"  {text}"), style="dim", highlight=False, soft_wrap=True)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _answerer(folder: Path) -> Answer:
    from tasks.lm.causal import load
    from tasks.lm.generate import answer

    model, tokenizer = load(folder)
    return lambda prompt: answer(model, tokenizer, prompt)


def _embedder(folder: Path | None) -> Embed | None:
    from tasks.retrieval.search import encoder_in

    model = encoder_in(folder) if folder else None
    if model is None:
        return None
    from tasks.retrieval.encoder import load_encoder
    from tasks.retrieval.search import embed

    encoder = load_encoder(model)
    return lru_cache(maxsize=KNOWN_VECTORS)(lambda text: embed(encoder, [text])[0])  # memories are asked for each turn
