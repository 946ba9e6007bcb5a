"""The chat as a local page: each answer with the memory behind it, and a panel of all that is remembered.

One user, one model, one turn at a time. What the page may ask for are the methods of `UserChat`; who may ask at all
is decided in guard.py.
"""

import errno
import logging
import secrets
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

import uvicorn
from fastapi import Body, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AfterValidator
from rich.console import Console
from starlette.exceptions import HTTPException

from tasks.errors import BadInput, Busy, PerennialError
from tasks.memory.guard import HEADERS, refusal
from tasks.memory.means import ALWAYS, INDEXES, load_means
from tasks.memory.store import checked_user, chunks_of, forget, forget_source, memories_of, opened, pin
from tasks.memory.turn import MAX_MESSAGE, Means, take_turn
from tasks.params import Chat
from tasks.retrieval.policy import Policy

ADDRESS = "127.0.0.1"
TOKEN_BYTES = 16
PATIENCE_SECONDS = 60.0  # of a message behind another one's answer
STATUS = {BadInput: 400, Busy: 503}  # what a mistake is in HTTP's terms; 500 otherwise


def _whole(text: str) -> str:
    text.encode()  # half a surrogate pair is a ValueError here, and a fault of the store further on
    return text


Text = Annotated[str, Body(embed=True), AfterValidator(_whole)]
Flag = Annotated[bool, Body(embed=True)]
Reply = dict[str, Any]


def serve(
    lm: Path,
    retriever: Path | None,
    store: Path,
    user: str,
    settings: Chat,
    name: str,
    port: int,
    console: Console,
    documents: Policy = ALWAYS,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        lm: the language model's folder.
        retriever: the retriever's folder; None to talk without retrieval.
        store: the SQLite file of memories.
        user: whose memories are read and written.
        settings: params.yaml's section `chat`.
        name: which model it is, for people.
        port: on this machine, for this machine alone.
        console: where the address is shown.
        documents: how they are used, see load_means.

    Raises:
        Busy: the port is taken.
    """
    checked_user(user)
    with listening(port) as door:
        with console.status("loading the model"):
            chat = UserChat(
                load_means(lm, retriever, settings, user, store.parent / INDEXES, documents),
                store,
                user,
                settings.memories,
            )
        token = secrets.token_urlsafe(TOKEN_BYTES)
        app = web_app(chat, f"{name}, with the memories of {user}", port, token)
        address = f"http://{ADDRESS}:{port}/#{token}"
        console.print(f"The chat is at {address} (Ctrl-C ends it).", highlight=False, soft_wrap=True)
        with suppress(KeyboardInterrupt):
            web_server(app).run(sockets=[door])
    console.print("Goodbye.", style="dim")


@dataclass(frozen=True)
class UserChat:
    """One user's chat: what the page may ask for. Each request opens the store for itself."""

    means: Means
    store: Path
    user: str
    memories: int  # at most
    turns: Lock = field(default_factory=Lock)  # the model serves one message at a time

    def turn(self, message: Text) -> Reply:
        """Answer a message."""
        if not message.strip():
            raise BadInput("The message is empty. Write something first.")
        if len(message) > MAX_MESSAGE:
            raise BadInput(f"A message has at most {MAX_MESSAGE} characters; this one has {len(message)}.")
        if not self.turns.acquire(timeout=PATIENCE_SECONDS):
            raise Busy("The model is still at another message. Send this one again when that is answered.")
        try:
            with opened(self.store, self.memories) as connection:
                turn = take_turn(connection, self.user, message, self.means)
        finally:
            self.turns.release()
        return {
            "answer": turn.answer,
            "retrieved": [each._asdict() for each in turn.retrieved],
            "saved": turn.saved._asdict() if turn.saved else None,
            "instructions": dict(turn.instructions),
        }

    def remembered(self) -> Reply:
        """List what is remembered: memories, and documents with the number of their passages."""
        with opened(self.store, self.memories) as connection:
            memories = memories_of(connection, self.user)
            passages = Counter(chunk.source for chunk in chunks_of(connection, self.user))
        documents = [{"source": source, "passages": count} for source, count in passages.items()]
        return {"memories": [memory._asdict() for memory in memories], "documents": documents}

    def pin(self, key: Text, pinned: Flag) -> Reply:
        """Keep a memory when room is needed, or no longer."""
        with opened(self.store, self.memories) as connection:
            return _found(pin(connection, self.user, key, pinned), key)

    def forget(self, key: Text) -> Reply:
        """Delete a memory with its history."""
        with opened(self.store, self.memories) as connection:
            found = forget(connection, self.user, key)
        self.means.drop()
        return _found(found, key)

    def forget_document(self, source: Text) -> Reply:
        """Delete a document's passages."""
        with opened(self.store, self.memories) as connection:
            return _found(forget_source(connection, self.user, source), source)


def web_app(chat: UserChat, title: str, port: int, token: str) -> FastAPI:
    """The application: the page with its style and script, and what the page may ask for."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    page = _file("page.html").replace("{{title}}", escape(title)).replace("{{longest}}", str(MAX_MESSAGE))
    app.get("/")(lambda: Response(page, media_type="text/html"))
    app.get("/page.css")(lambda: Response(_file("page.css"), media_type="text/css"))
    app.get("/page.js")(lambda: Response(_file("page.js"), media_type="text/javascript"))
    app.get("/api/memories")(chat.remembered)
    app.post("/api/turns")(chat.turn)
    app.post("/api/memories/pin")(chat.pin)
    app.post("/api/memories/forget")(chat.forget)
    app.post("/api/documents/forget")(chat.forget_document)
    for error in (RequestValidationError, HTTPException):
        app.add_exception_handler(error, _unreadable)

    @app.middleware("http")
    async def guarded(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        refused = refusal(request.scope["path"], request.headers, port, token)
        response = _complaint(*refused) if refused else await _answered(request, answer)
        response.headers.update(HEADERS)
        return response

    return app


def web_server(app: FastAPI) -> uvicorn.Server:
    """The server for an application: quiet, without websockets, trusting no proxy."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
    )


def listening(port: int) -> socket.socket:
    """Open the port for this machine alone.

    Raises:
        Busy: another program has it.
        BadInput: the system doesn't give it.
    """
    try:
        return socket.create_server((ADDRESS, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Busy(f"Port {port} is in use by another program. Choose another one with --port.") from error
        raise BadInput(f"Port {port} can't be opened: {error.strerror}. Choose another one with --port.") from error


async def _answered(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    try:
        return await answer(request)
    except PerennialError as error:
        return _complaint(STATUS.get(type(error), 500), str(error))
    except Exception as error:  # a defect of ours or of a library: the log has the traceback, the page a sentence
        logging.getLogger(__name__).exception("%s failed", request.scope["path"])
        hint = "Start the chat with --verbose and try again: the terminal then shows where."
        return _complaint(500, f"Perennial failed at this ({type(error).__name__}). {hint}")


async def _unreadable(request: Request, error: Exception) -> Response:
    return _complaint(getattr(error, "status_code", 422), "Perennial can't read this request. Reload the page.")


def _complaint(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)


def _found(changed: int, name: str) -> Reply:
    if not changed:
        raise BadInput(f"Nothing is remembered under '{name}' any more.")
    return {}


def _file(name: str) -> str:
    return files("tasks.memory").joinpath(name).read_text(encoding="utf-8")
