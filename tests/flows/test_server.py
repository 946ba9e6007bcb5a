"""Prefect's server for one run: reached past every proxy, given up soon and with its cause where it can't come up."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import nullcontext
from io import StringIO

import pytest
from prefect.settings import PREFECT_HOME, PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, temporary_settings
from rich.console import Console

import flows.timeline
from flows import server
from flows import walk as walks
from flows.run import dead_server, run_timeline
from flows.server import LOG, NoServer, serving

DEAD = "http://127.0.0.1:9"
ASK = """
import json, os, threading, urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
import tasks

class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"here")
    def log_message(self, *_): pass

here = HTTPServer(("127.0.0.1", 0), Answer)
threading.Thread(target=here.serve_forever, daemon=True).start()
import httpx, requests
told = []
for host in ("127.0.0.1", "localhost"):
    url = f"http://{host}:{here.server_port}/"
    told += [urllib.request.urlopen(url).read().decode(), requests.get(url).text, httpx.get(url).text]
print(json.dumps([told, os.environ["NO_PROXY"], os.environ["no_proxy"]]))
"""


@pytest.mark.parametrize("spelling", [str.upper, str.lower])
@pytest.mark.parametrize("direct", ["", "example.org, .test", "localhost"])
def test_this_machine_is_reached_without_a_proxy_by_every_library(spelling, direct):
    proxies = {spelling(name): DEAD for name in ("http_proxy", "https_proxy", "all_proxy")} | {"no_proxy": direct}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=os.environ | proxies, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told, upper, lower = json.loads(done.stdout)
    assert told == ["here"] * 6
    assert upper == lower
    assert set(upper.split(",")) == {"localhost", "127.0.0.1", "::1"} | {
        host.strip() for host in direct.split(",") if host
    }


def test_no_proxy_for_anything_stays_so():
    code = "import os, tasks; print(os.environ['NO_PROXY'])"
    environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"} | {"NO_PROXY": "*"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "*\n"


def test_a_proxys_answer_is_not_a_servers(monkeypatch):
    import urllib.error
    import urllib.request

    def answers(code):
        def urlopen(url, timeout):
            raise urllib.error.HTTPError(url, code, "no", {}, None)

        return urlopen

    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example.org/api")
    for code, dead in ((502, True), (503, True), (401, False), (404, False)):
        monkeypatch.setattr(urllib.request, "urlopen", answers(code))
        assert (dead_server() is not None) == dead, code


@pytest.fixture
def page():
    return Console(record=True, width=120, file=StringIO())


@pytest.fixture
def no_publishing(monkeypatch):
    monkeypatch.setattr(walks, "publish", lambda run: None)


def instead(monkeypatch, code):
    """Let another program stand for the server."""

    def start(root, address, output):
        return subprocess.Popen([sys.executable, "-c", code], stdout=output, stderr=output)

    monkeypatch.setattr(server, "_start", start)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit(3)", "it ended with code 3; .perennial/prefect.log has its log"),
        ("print('x' * 99_999); raise PermissionError('no, never')", "PermissionError: no, never"),
        ("import time; time.sleep(60)", "it did not answer within 1 s"),
    ],
)
def test_a_server_that_does_not_come_up_costs_a_sentence_and_the_run_goes_on(
    project, page, no_publishing, monkeypatch, capfd, code, reason
):
    instead(monkeypatch, code)
    with temporary_settings({PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 1 if "sleep" in code else 60}):
        run_timeline(project, page)
    said = page.export_text()
    assert f"Prefect's server did not start ({reason}" in " ".join(said.split())
    assert "0 of 3 steps were up to date, 3 ran" in said
    assert len(said.splitlines()) < 10
    assert capfd.readouterr() == ("", "")


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.mark.parametrize(("grows", "making", "waited"), [(2.0, 60.0, 3), (60.0, 2.0, 2), (0.0, 60.0, 1)])
def test_while_a_new_database_grows_the_server_is_waited_for(tmp_path, monkeypatch, grows, making, waited):
    clock = Clock()
    instead(monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr(server, "time", clock)
    monkeypatch.setattr(server, "_size_of_the_database", lambda: min(clock.now, grows))
    monkeypatch.setattr(server, "MAKING", making)
    settings = {PREFECT_HOME: tmp_path, PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 1}
    with temporary_settings(settings), pytest.raises(NoServer, match=f"within {waited} s"), serving(tmp_path):
        raise AssertionError("it can't come up")


def test_a_database_of_a_newer_prefect_is_told_in_one_sentence(tmp_path):
    database = sqlite3.connect(tmp_path / "prefect.db")
    database.execute("create table alembic_version (version_num varchar(32) not null)")
    database.execute("insert into alembic_version values ('ffffffffffff')")
    database.commit()
    with (
        temporary_settings({PREFECT_HOME: tmp_path}),
        pytest.raises(NoServer) as refused,
        serving(tmp_path),
    ):
        raise AssertionError("it can't come up")
    assert str(refused.value) == (
        "Can't locate revision identified by 'ffffffffffff': .prefect/prefect.db was made by another version of "
        "Prefect; move it away"
    )
    assert "Traceback" in (tmp_path / LOG).read_text()


def test_if_prefect_itself_fails_the_line_that_says_why_is_shown(project, page, no_publishing, monkeypatch):
    def dies(run):
        raise ConnectionError("The following failures occurred:\n#### one ####\n[Errno 28] the disk is [full]\nadvice")

    monkeypatch.setattr(server, "serving", lambda *_: nullcontext())
    monkeypatch.setattr(flows.timeline, "walk_with_prefect", dies)
    run_timeline(project, page)
    said = " ".join(page.export_text().split())
    assert "Prefect failed (The following failures occurred: one [Errno 28] the disk is [full]); going on" in said
    assert "3 ran" in said
