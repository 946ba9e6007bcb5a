"""`perennial chat --web`: brings a slice's model, its retriever and the user's memories onto the page."""

from pathlib import Path

from rich.console import Console

from flows.chat import STORE, chosen_models


def serve_chat(root: Path, chosen: str | None, user: str, port: int, console: Console) -> None:
    """Serve the chat with the model of the chosen slice, by default the champion's, until Ctrl-C."""
    name, lm, retriever, settings, documents = chosen_models(root, chosen)
    from tasks.memory.web import serve

    serve(lm, retriever, root / STORE, user, settings, name, port, console, documents)
