"""The chat's server answers its own page on this machine, and nobody else."""

import re

import pytest

from tasks.memory.store import learn, opened, remember
from tasks.memory.turn import Means
from tasks.memory.web import UserChat
from tests.memory.conftest import HOME, PORT, TOKEN


@pytest.fixture
def chat(tmp_path):
    """Ann's: she has a memory and a document, and whatever she says, there is more to remember."""
    store = tmp_path / "memories.db"
    with opened(store) as connection:
        remember(connection, "ann", "home town", "Cork City")
        learn(connection, "ann", "notes.md", "d1", [("Travel", "By train.")])
    return UserChat(Means(None, None, lambda contexts, weights, message: "[pet: a cat] Fine."), store, "ann", 100)


def test_the_page_itself_holds_neither_the_token_nor_a_memory(stranger):
    for path in ("/", "/page.css", "/page.js"):
        text = stranger.get(path).text
        assert TOKEN not in text and "Cork City" not in text


def test_the_page_fetches_nothing_from_elsewhere_and_runs_nothing_inline(stranger):
    texts = [stranger.get(path).text for path in ("/", "/page.css", "/page.js")]
    assert not [text for text in texts if re.search(r"https?://|@import|innerHTML|document\.write|eval\(", text)]
    assert not re.search(r"<script(?! src)|<style|\son\w+=|\sstyle=|javascript:", texts[0])


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/api/memories", "/nothing"])
@pytest.mark.parametrize("host", ["127.0.0.1:8765", "evil.example:8765"])
def test_every_response_is_uncached_unsniffed_and_under_the_strict_policy(client, path, host):
    headers = client.get(path, headers={"Host": host}).headers
    assert headers["cache-control"] == "no-store" and headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
def test_the_names_of_this_machine_are_answered(client, name):
    assert client.get("/api/memories", headers={"Host": f"{name}:{PORT}"}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example:8765", "127.0.0.1.evil.example:8765", "127.0.0.1:8766", "127.0.0.1", "192.168.0.2:8765", ""]
)
@pytest.mark.parametrize("path", ["/", "/page.js", "/api/memories"])
def test_a_foreign_name_of_this_machine_is_refused_even_the_page(client, host, path):
    reply = client.get(path, headers={"Host": host})
    assert reply.status_code == 421
    assert list(reply.json()) == ["error"]


CHANGES = [
    ("/api/turns", {"message": "I have a cat."}),
    ("/api/memories/forget", {"key": "home town"}),
    ("/api/memories/pin", {"key": "home town", "pinned": True}),
    ("/api/documents/forget", {"source": "notes.md"}),
]
STRANGE = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:3000"},
    {"Origin": f"https://127.0.0.1:{PORT}"},
    {"Origin": f"http://localhost:{PORT}"},  # the page was not served under that name
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"X-Perennial-Token": ""},
    {"X-Perennial-Token": "guessed"},
    {b"X-Perennial-Token": "토큰".encode()},
]


@pytest.mark.parametrize("headers", STRANGE)
@pytest.mark.parametrize(("path", "body"), CHANGES)
def test_another_page_can_neither_change_nor_read_anything(client, path, body, headers):
    before = client.get("/api/memories").json()
    assert client.post(path, json=body, headers=headers).status_code == 403
    assert client.get("/api/memories", headers=headers).status_code == 403
    assert client.get("/api/memories").json() == before
    assert client.post(path, json=body).status_code == 200
    assert client.get("/api/memories").json() != before


def test_a_preflight_from_elsewhere_gets_no_permission(client):
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    reply = client.options("/api/turns", headers=headers)
    assert reply.status_code == 403
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_its_own_page_is_answered_with_all_the_headers_a_browser_sends(client):
    headers = {"Origin": HOME, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/turns", json={"message": "Hi"}, headers=headers).json()["answer"] == "Fine."


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_what_a_form_can_send_is_no_message(client, kind):
    reply = client.post("/api/turns", content=b'{"message": "Hi"}', headers={"Content-Type": kind})
    assert (reply.status_code, reply.json()) == (422, {"error": "Perennial can't read this request. Reload the page."})


def test_a_body_that_is_too_big_or_of_unknown_size_is_not_read(client):
    assert client.post("/api/turns", json={"message": "a" * 70_000}).status_code == 413
    assert client.post("/api/turns", content=iter([b"{}"])).status_code == 411
    assert client.post("/api/turns", content=b"{}", headers={"Content-Length": "-2"}).status_code == 411
