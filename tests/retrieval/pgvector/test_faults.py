import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.pgvector_server import running
from tasks.errors import BadInput, Busy, PerennialError
from tasks.retrieval import pgvector
from tasks.retrieval.pgvector import ADDRESS, opened
from tests.retrieval.pgvector.conftest import ANNA, ENCODER, ROWS, WIDTH, embed, some_vectors

pytestmark = pytest.mark.server
ROOT = Path(__file__).parents[3]


def test_a_statement_that_waits_for_another_is_given_up(index_of, monkeypatch):
    monkeypatch.setitem(pgvector.SETTINGS, "statement_timeout", "200ms")
    with index_of() as index, index_of() as other, other._connection.transaction():
        other._run("LOCK TABLE {table}")
        with pytest.raises(Busy, match="error 57014. Try again"):
            index.search(some_vectors(1)[0], 1)


def test_a_server_process_that_is_stuck_is_not_waited_for(monkeypatch, own_server):
    monkeypatch.setattr(pgvector, "ANSWER_SECONDS", 0.5)
    with opened(ANNA, ENCODER, WIDTH, own_server) as index:
        index.current(ROWS, embed)
        process = psutil.Process(index._run("SELECT pg_backend_pid()").fetchone()[0])
        process.suspend()
        try:
            with pytest.raises(Busy, match="stopped answering"):
                index.search(some_vectors(1)[0], 1)
        finally:
            process.resume()


def test_a_killed_server_is_one_sentence_and_what_was_acknowledged_is_there_again(new_folder, own_server):
    folder = new_folder()
    with running(folder) as address, opened(ANNA, ENCODER, WIDTH, address) as index:
        index.current(ROWS, embed)
        server = psutil.Process(int((folder / "data/postmaster.pid").read_text().split("\n")[0]))
        for process in (server, *server.children()):
            process.send_signal(signal.SIGKILL)
        server.wait(10)
        for _ in range(2):
            with pytest.raises(Busy, match="The memory server of PERENNIAL_PGVECTOR stopped answering. Try again"):
                index.search(some_vectors(1)[0], 1)
        with pytest.raises(Busy, match="can't be reached"), opened(ANNA, ENCODER, WIDTH, address):
            pass
    with running(folder) as address, opened(ANNA, ENCODER, WIDTH, address) as index:
        assert len(index) == len(ROWS)


def refused(address, error, match):
    with pytest.raises(PerennialError, match=match) as told, opened(ANNA, ENCODER, WIDTH, address):
        pass
    assert type(told.value) is error and "secret" not in str(told.value)


def test_no_server_at_the_address_is_one_sentence():
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))  # and nobody listens
        refused(f"postgresql://u:secret@127.0.0.1:{line.getsockname()[1]}/x", Busy, "can't be reached")


def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(pgvector, "CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as line:
        refused(f"postgresql://u:secret@127.0.0.1:{line.getsockname()[1]}/x", Busy, "can't be reached")


@pytest.mark.parametrize("address", ["host=x secret", "secret", "postgresql://u:se@secret:x/y:z"])
def test_an_address_that_is_none_is_told_without_repeating_it(address):
    with pytest.raises(PerennialError) as told, opened(ANNA, ENCODER, WIDTH, address):
        pass
    assert ADDRESS in str(told.value) and "secret" not in str(told.value)


def test_a_wrong_password_or_database_is_told_without_repeating_it(own_server):
    host = own_server.rpartition("@")[2]
    refused(f"postgresql://perennial:secret@{host}", BadInput, "refuses the user, password or database")
    refused(own_server.replace("/postgres", "/secret"), BadInput, "refuses the user, password or database")


def test_without_an_address_the_variable_is_named(monkeypatch):
    monkeypatch.delenv(ADDRESS, raising=False)
    with pytest.raises(BadInput, match="PERENNIAL_PGVECTOR isn't set"), opened(ANNA, ENCODER, WIDTH):
        pass


def test_a_user_who_may_not_make_a_schema_is_told_what_the_owner_must_do(own_server):
    with opened(ANNA, ENCODER, WIDTH, own_server) as index:
        index._run("CREATE ROLE guest LOGIN PASSWORD 'guest'")
        index._run("CREATE DATABASE empty")
        try:
            guest = f"postgresql://guest:guest@{own_server.rpartition('@')[2].replace('/postgres', '/empty')}"
            refused(guest, BadInput, "CREATE EXTENSION vector; GRANT CREATE ON DATABASE")
        finally:
            index._run("DROP DATABASE empty")
            index._run("DROP ROLE guest")


def test_the_driver_is_loaded_only_when_it_is_used():
    code = "import sys, tasks.retrieval.pgvector; sys.exit('psycopg' in sys.modules or 'pgvector' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_without_the_driver_the_packages_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BadInput, match="pip install"), opened(ANNA, ENCODER, WIDTH, "postgresql://x/y"):
        pass


def test_the_command_prints_the_address_and_stops_when_asked(new_folder, own_server):
    folder = new_folder()
    command = [sys.executable, "-m", "benchmarks.pgvector_server", str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    export, address = process.stdout.readline().strip().split("=", 1)
    with opened(ANNA, ENCODER, WIDTH, address) as index:
        index.current(ROWS, embed)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0 and export == f"export {ADDRESS}"
    assert not (folder / "data/postmaster.pid").exists()
    refused(address.replace("password", "secret"), Busy, "can't be reached")
