"""A Prefect server for one run: started beside it where the user has none, its log in a file, and gone with it.

Prefect would start one by itself, and does so again and again where it can't come up (a database of a newer Prefect,
say): minutes, and thousands of lines. It would also print what its parts complain of while they are ended.
"""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.locks import SERVER
from tasks.errors import LONGEST

GOODBYE = 5.0  # seconds for what Prefect still has to send, and for the server to end
MAKING = 120.0  # seconds at most for a database that is not there yet: Prefect makes it in some hundred small steps
LOG = Path(".perennial/prefect.log")
ADDRESS = "127.0.0.1"
REASON = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception)): (.+)$")
NEWER = "locate revision"  # alembic, about a database of a version that it doesn't know


class NoServer(Exception):
    """Prefect has no server to talk to; the text says why."""


@contextmanager
def serving(root: Path, verbose: bool = False) -> Iterator[None]:
    """Let Prefect talk, until the block ends, to the server that its settings name, else to one of our own.

    Args:
        root: the project's folder, where the server's log lies, too.
        verbose: the log goes to the terminal instead.

    Raises:
        NoServer: ours did not come up.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    if PREFECT_API_URL.value():
        yield
        return
    log = root / LOG
    log.parent.mkdir(exist_ok=True)
    address = f"http://{ADDRESS}:{_free_port()}/api"
    making = not has_database()
    with log.open("wb") as file:
        process = _start(root, address, None if verbose else file.fileno())
    try:
        _wait_for(process, address, log, making)
        with temporary_settings({PREFECT_API_URL: address}):
            try:
                yield
            finally:
                _send_the_rest()
    finally:
        process.terminate()
        try:
            process.wait(GOODBYE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start(root: Path, address: str, output: int | None) -> "subprocess.Popen[bytes]":
    from prefect.settings import get_current_settings

    port = address.removesuffix("/api").rpartition(":")[2]
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    role = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--factory", SERVER, "--host", ADDRESS, "--port", port,
         "--log-level", "error", "--lifespan", "on"],
        cwd=root,
        env=os.environ | _database() | settings | role,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,  # Ctrl-C is ours: the server must live until the run has said how it ended
    )  # fmt: skip


def has_database() -> bool:
    """Whether Prefect's own database is there already: to make it takes most of the first start."""
    return _path_of_the_database().exists()


def _path_of_the_database() -> Path:
    from prefect.settings import PREFECT_HOME

    return PREFECT_HOME.value() / "prefect.db"


def _size_of_the_database() -> int:
    path = _path_of_the_database()
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(each.stat().st_size for each in files if each.exists())


def _database() -> dict[str, str]:
    """Prefect makes a URL of its folder's path as it stands: a '?' in it would end the path."""
    path = _path_of_the_database()
    if "?" not in str(path):
        return {}
    return {"PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{os.path.relpath(path)}"}


def _wait_for(process: "subprocess.Popen[bytes]", address: str, log: Path, making: bool) -> None:
    """Return when it answers. While it makes its database, it is given up when that has not grown for the patience."""
    from prefect.settings import PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS

    patience = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()  # 20; 3 to 11 are needed on an idle machine
    started = time.monotonic()
    give_up, written = started + patience, -1
    while time.monotonic() < give_up:
        if making and written != (written := _size_of_the_database()):
            give_up = min(started + MAKING, time.monotonic() + patience)
        if process.poll() is not None:
            raise NoServer(_cause(log) or f"it ended with code {process.returncode}; {LOG} has its log")
        try:
            urllib.request.urlopen(f"{address}/health", timeout=1.0).close()
        except (OSError, ValueError):
            time.sleep(0.05)
        else:
            return
    raise NoServer(_cause(log) or f"it did not answer within {round(time.monotonic() - started)} s; {LOG} has its log")


def _cause(log: Path) -> str | None:
    """The last error in a server's log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    for found in filter(None, map(REASON.match, reversed(lines))):
        reason = found[2][:LONGEST].rstrip(".")
        if NEWER in reason:
            return f"{reason}: .prefect/prefect.db was made by another version of Prefect; move it away"
        return f"{found[1]}: {reason}"
    return None


def _send_the_rest() -> None:
    """What Prefect's threads still hold of the run's history: after the server's end they would complain."""
    from prefect.events.worker import EventsWorker

    EventsWorker.drain_all(timeout=GOODBYE)  # and its other services: they share one list


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((ADDRESS, 0))
        return int(one.getsockname()[1])
