"""The user's Prefect server: named by any of Prefect's settings, past every proxy; without one nothing is started."""

import json
import os
import subprocess
import sys
import threading
from base64 import b64encode
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO

import prefect
import psutil
import pytest
from prefect.settings import temporary_settings
from rich.console import Console

import flows.timeline
from flows import server
from flows import walk as walks
from flows.run import run_timeline
from tests import warm

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


@pytest.fixture
def page():
    return Console(record=True, width=120, file=StringIO())


@pytest.fixture
def no_publishing(monkeypatch):
    monkeypatch.setattr(walks, "publish", lambda run: None)


@contextmanager
def answering(status, wanted=""):
    """A server of Prefect's, as far as it is asked before a run; yields its host and what it was told of who asks."""
    told = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            told.append(self.headers["Authorization"])
            known = not wanted or told[-1] == wanted
            self.send_response((404 if "csrf" in self.path else status) if known else 401)
            self.end_headers()
            self.wfile.write(json.dumps(prefect.__version__ if "version" in self.path else []).encode())

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as here:
        threading.Thread(target=here.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{here.server_port}", told
        here.shutdown()


def said_by_a_run(project, page, **settings):
    with temporary_settings({getattr(prefect.settings, name): value for name, value in settings.items()}):
        run_timeline(project, page)
    return " ".join(page.export_text().split())


def test_without_a_server_nothing_of_prefect_is_started(project, page, no_publishing, tmp_path, monkeypatch):
    def flow(run):
        raise AssertionError("there is no server")

    monkeypatch.setattr(flows.timeline, "walk_with_prefect", flow)
    before = psutil.Process().children()
    said = said_by_a_run(project, page)
    assert "0 of 3 steps were up to date, 3 ran" in said and "Prefect" not in said
    assert psutil.Process().children() == before


BASIC, BEARER = f"Basic {b64encode(b'ann:secret').decode()}", "Bearer pnu_secret"


@pytest.mark.parametrize(
    ("log_in", "settings", "wanted"),
    [
        ("", {}, ""),
        ("ann:secret@", {}, BASIC),
        ("", {"PREFECT_API_AUTH_STRING": "ann:secret"}, BASIC),
        ("", {"PREFECT_API_KEY": "pnu_secret"}, BEARER),
    ],
)
def test_a_server_is_asked_as_prefects_own_client_asks_it(
    project, page, no_publishing, monkeypatch, log_in, settings, wanted
):
    monkeypatch.setattr(flows.timeline, "walk_with_prefect", walks.walk)
    with answering(200, wanted) as (host, told):
        said = said_by_a_run(project, page, PREFECT_API_URL=f"http://{log_in}{host}/api", **settings)
    assert set(told) == {wanted or None}
    assert "3 ran" in said and "without it" not in said


@pytest.mark.parametrize(
    ("status", "wanted", "reason"),
    [
        (200, BEARER, "The Prefect server at http://{host}/api refuses the log-in: set PREFECT_API_AUTH_STRING or "),
        (502, "", "No Prefect server answers at http://{host}/api (Server error '502 Bad Gateway'"),
        (404, "", "No Prefect server answers at http://{host}/api (Client error '404 Not Found'"),
    ],
)
def test_one_that_is_no_help_is_a_sentence_without_the_password(project, page, no_publishing, status, wanted, reason):
    with answering(status, wanted) as (host, _):
        said = said_by_a_run(project, page, PREFECT_API_URL=f"http://ann:secret@{host}/api")
    assert reason.format(host=host) in said and "going on without it. " in said
    assert "3 ran" in said
    assert "secret" not in said


def test_a_server_that_only_a_profile_names_counts(project, tmp_path):
    profiles = tmp_path / "profiles.toml"
    profiles.write_text(f'active = "ours"\n[profiles.ours]\nPREFECT_API_URL = "http://ann:secret@{DEAD[7:]}/api"\n')
    environment = os.environ | {"PREFECT_PROFILES_PATH": str(profiles), "MLFLOW_TRACKING_URI": DEAD}
    said = warm.run(project, warm.PERENNIAL, ["run"], environment).stdout
    assert f"No Prefect server answers at {DEAD}/api ([Errno 111] Connection refused); going on without it." in said
    assert "secret" not in said


def test_if_prefect_itself_fails_the_line_that_says_why_is_shown_and_the_rest_is_done(
    project, page, no_publishing, monkeypatch
):
    def dies(run):
        walks.bring(run, "origin")
        raise ConnectionError("The following failures occurred:\n#### one ####\n[Errno 28] the disk is [full]\nadvice")

    monkeypatch.setattr(server, "_ask", lambda address: None)
    monkeypatch.setattr(flows.timeline, "walk_with_prefect", dies)
    said = said_by_a_run(project, page, PREFECT_API_URL=DEAD)
    assert "Prefect failed (The following failures occurred: one [Errno 28] the disk is [full]); going on" in said
    assert "3 ran" in said


def test_an_error_of_publishing_is_not_blamed_on_prefect_and_publishing_is_not_tried_twice(project, page, monkeypatch):
    from flows import publish

    tried = []

    def fails(root):
        tried.append(root)
        raise ValueError("a defect")

    monkeypatch.setattr(server, "_ask", lambda address: None)
    monkeypatch.setattr(publish, "publish_timeline", fails)
    monkeypatch.setattr(flows.timeline, "walk_with_prefect", lambda run: (walks.walk(run), walks.publish(run)))
    with pytest.raises(ValueError, match="a defect"):
        said_by_a_run(project, page, PREFECT_API_URL=DEAD)
    assert tried == [project]
    assert "Prefect" not in page.export_text()


def test_what_was_published_before_prefect_failed_is_not_published_again(project, page, monkeypatch):
    from flows import publish

    tried = []

    def dies(run):
        walks.walk(run)
        walks.publish(run)
        raise ConnectionError("the server is gone")

    monkeypatch.setattr(server, "_ask", lambda address: None)
    monkeypatch.setattr(publish, "publish_timeline", lambda root: tried.append(root) or publish.Published())
    monkeypatch.setattr(flows.timeline, "walk_with_prefect", dies)
    assert "Prefect failed (the server is gone)" in said_by_a_run(project, page, PREFECT_API_URL=DEAD)
    assert tried == [project]
