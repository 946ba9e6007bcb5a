"""The chat's page over HTTP: what it may ask for, and how the server begins and ends."""

import json
import re
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Thread
from urllib.request import urlopen

import pytest
from rich.console import Console
from starlette.testclient import TestClient

from tasks import artifact
from tasks.errors import BadInput, Busy, Corrupt
from tasks.lm.causal import build, save
from tasks.memory import web
from tasks.memory.means import load_means
from tasks.memory.store import history_of, learn, memories_of, opened, pin, remember
from tasks.memory.turn import MAX_MESSAGE, Means
from tasks.memory.web import UserChat, listening, serve, web_app
from tasks.params import Chat, Pretrain
from tasks.retrieval.search import Found
from tests.memory.conftest import HOME, PORT, TOKEN

ROOT = Path(__file__).parents[2]
TINY = Pretrain(
    slice="one", model="small", layers=1, width=16, heads=2, positions=64, vocabulary=300, steps=1,
    batch_tokens=64, learning_rate=1e-3, warmup=0.1,
)  # fmt: skip
SCORE = 0.87


def first(message, texts):
    """Finds the oldest memory, whatever is asked."""
    return [Found(0, SCORE)] if texts else []


@pytest.fixture
def answers():
    """What the model says; a test changes it."""
    return {"say": lambda message: "Fine."}


@pytest.fixture
def chat(tmp_path, answers):
    means = Means(find=first, find_chunks=None, answer=lambda contexts, weights, message: answers["say"](message))
    return UserChat(means, tmp_path / "memories.db", "ann", 100)


def test_the_page_says_whose_model_and_whose_memories(stranger):
    page = stranger.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "The model of 2024, with the memories of ann" in page.text
    assert "{{" not in page.text


def test_the_title_is_text_and_no_markup(chat):
    page = TestClient(web_app(chat, "<b>&", PORT, TOKEN), base_url=HOME).get("/").text
    assert "<p>&lt;b&gt;&amp;</p>" in page


def test_a_turn_brings_the_instructions_of_an_answer(chat, client, answers):
    answers["say"] = lambda message: "[expression: smile] Hi."
    for parts, answer, told in (({"expression": []}, "Hi.", {"expression": "smile"}), ({}, "Hi.", {})):
        app = web_app(replace(chat, means=replace(chat.means, parts=parts)), "", PORT, TOKEN)
        asking = TestClient(app, base_url=HOME, headers=client.headers)
        reply = asking.post("/api/turns", json={"message": "Hello."}).json()
        assert (reply["answer"], reply["instructions"]) == (answer, told)


def test_a_turn_brings_the_answer_the_memory_with_its_score_and_what_was_saved(chat, client, answers):
    with opened(chat.store) as store:
        remember(store, "ann", "home town", "Cork")
    answers["say"] = lambda message: "[pet: a cat] What is its name?"
    reply = client.post("/api/turns", json={"message": "I have a cat."}).json()
    assert reply["answer"] == "What is its name?"
    assert reply["retrieved"] == [{"text": "[home town: Cork]", "score": SCORE, "source": "memory"}]
    assert (reply["saved"]["key"], reply["saved"]["value"]) == ("pet", "a cat")
    with opened(chat.store) as store:
        assert [memory.key for memory in memories_of(store, "ann")] == ["home town", "pet"]


def test_the_panel_lists_this_users_memories_and_documents_only(chat, client):
    with opened(chat.store) as store:
        remember(store, "ann", "home town", "Cork")
        pin(store, "ann", "home town")
        remember(store, "bob", "home town", "Leeds")
        learn(store, "ann", "notes.md", "d1", [("Travel", "By train."), ("Food", "No nuts.")])
        learn(store, "bob", "secret.md", "d2", [("Plans", "None.")])
    panel = client.get("/api/memories").json()
    assert [(each["key"], each["value"], each["pinned"]) for each in panel["memories"]] == [("home town", "Cork", True)]
    assert panel["documents"] == [{"source": "notes.md", "passages": 2}]
    assert datetime.fromisoformat(panel["memories"][0]["created"]) <= datetime.now(UTC)


def test_a_memory_is_pinned_unpinned_and_deleted_with_its_history(chat, client):
    with opened(chat.store) as store:
        remember(store, "ann", "home town", "Cork")
        remember(store, "ann", "home town", "Leeds")
        for pinned in (True, False):
            assert client.post("/api/memories/pin", json={"key": "home town", "pinned": pinned}).status_code == 200
            assert [memory.pinned for memory in memories_of(store, "ann")] == [pinned]
        assert client.post("/api/memories/forget", json={"key": "home town"}).status_code == 200
        assert history_of(store, "ann", "home town") == []


def test_a_document_is_deleted(chat, client):
    with opened(chat.store) as store:
        learn(store, "ann", "notes.md", "d1", [("Travel", "By train.")])
    assert client.post("/api/documents/forget", json={"source": "notes.md"}).status_code == 200
    assert client.get("/api/memories").json()["documents"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/memories/forget", {"key": ""}),
        ("/api/memories/pin", {"key": "", "pinned": True}),
        ("/api/documents/forget", {"source": ""}),
    ],
)
@pytest.mark.parametrize("name", ["pet", "", "' OR 1 --"])
def test_what_is_gone_already_is_said_to_be(client, path, body, name):
    reply = client.post(path, json={field: value or name for field, value in body.items()})
    assert (reply.status_code, reply.json()) == (400, {"error": f"Nothing is remembered under '{name}' any more."})


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"message": 7}', b'{"message": "\\ud800"}', b"\xff", b"[" * 60_000], ids=range(7)
)
def test_a_body_without_sense_is_a_sentence(client, body):
    reply = client.post("/api/turns", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code in (400, 422)
    assert list(reply.json()) == ["error"]


@pytest.mark.parametrize("letter", ["a", "각", "🎈"])
def test_the_longest_message_is_answered_and_a_longer_one_named(client, letter):
    longest = json.dumps({"message": letter * MAX_MESSAGE}).encode()  # the longest way to write it, too
    longer = json.dumps({"message": letter * (MAX_MESSAGE + 1)}).encode()
    replies = [
        client.post("/api/turns", content=body, headers={"Content-Type": "application/json"})
        for body in (longest, longer)
    ]
    assert [reply.status_code for reply in replies] == [200, 400]
    assert (
        replies[1].json()["error"] == f"A message has at most {MAX_MESSAGE} characters; this one has {MAX_MESSAGE + 1}."
    )


@pytest.mark.parametrize("message", ["", " \n"])
def test_an_empty_message_is_said_to_be_one(client, message):
    reply = client.post("/api/turns", json={"message": message})
    assert (reply.status_code, reply.json()["error"]) == (400, "The message is empty. Write something first.")


@pytest.mark.parametrize(
    ("error", "status"),
    [(BadInput("Mend the file."), 400), (Busy("Mend the file."), 503), (Corrupt("Mend the file."), 500)],
)
def test_a_mistake_reaches_the_page_as_its_sentence(client, answers, error, status):
    def fails(message):
        raise error

    answers["say"] = fails
    reply = client.post("/api/turns", json={"message": "Hi"})
    assert (reply.status_code, reply.json()) == (status, {"error": "Mend the file."})


def test_a_defect_reaches_the_page_without_its_traceback_and_the_next_turn_is_answered(client, answers):
    def fails(message):
        raise RuntimeError("/home/ann/secret")

    answers["say"] = fails
    reply = client.post("/api/turns", json={"message": "Hi"})
    assert reply.status_code == 500 and "secret" not in reply.text
    assert reply.json()["error"].startswith("Perennial failed at this (RuntimeError).")
    assert reply.headers["cache-control"] == "no-store"
    answers["say"] = lambda message: "Fine."
    assert client.post("/api/turns", json={"message": "Hi"}).json()["answer"] == "Fine."


def test_the_model_is_at_one_message_at_a_time(chat, answers):
    model, overlaps = Lock(), []

    def thinks(message):
        if not model.acquire(blocking=False):
            overlaps.append(message)
            return "Both at once."
        time.sleep(0.02)
        model.release()
        return "Fine."

    answers["say"] = thinks
    people = [Thread(target=chat.turn, args=(f"message {number}",)) for number in range(5)]
    for each in people:
        each.start()
    for each in people:
        each.join()
    assert overlaps == []


def test_a_real_model_answers_in_a_requests_thread(chat, tmp_path):
    with artifact.writing(tmp_path / "lm") as partial:
        save(*build(TINY, ["Hello there."], seed=1), partial)
    real = replace(chat, means=load_means(tmp_path / "lm", None, Chat(answer_tokens=4)))
    client = TestClient(web_app(real, "", PORT, TOKEN), base_url=HOME, headers={"X-Perennial-Token": TOKEN})
    reply = client.post("/api/turns", json={"message": "Hello there."}).json()
    assert reply["answer"] and reply["retrieved"] == []


def test_a_message_behind_an_endless_answer_gets_a_sentence(chat, client, monkeypatch):
    monkeypatch.setattr(web, "PATIENCE_SECONDS", 0)
    with chat.turns:
        reply = client.post("/api/turns", json={"message": "Hi"})
    assert reply.status_code == 503
    assert reply.json()["error"].startswith("The model is still at another message.")


def test_a_port_in_use_is_one_sentence_and_no_model_is_loaded_for_it(tmp_path):
    with listening(0) as door:
        port = door.getsockname()[1]
        with pytest.raises(Busy, match=f"Port {port} is in use by another program"):
            serve(tmp_path / "no model", None, tmp_path / "m.db", "ann", Chat(), "2024", port, Console())


def test_an_unsafe_user_is_refused_before_the_port_is_opened(tmp_path):
    with listening(0) as door, pytest.raises(BadInput, match="user's name"):
        port = door.getsockname()[1]
        serve(tmp_path / "no model", None, tmp_path / "m.db", "../ann", Chat(), "2024", port, Console())


SERVED = """
import sys
from pathlib import Path
from rich.console import Console
from tasks.memory import web
from tasks.memory.turn import Means
from tasks.params import Chat

web.load_means = lambda *of: Means(None, None, lambda contexts, weights, message: "Fine.")
web.serve(Path("lm"), None, Path(sys.argv[1]), "ann", Chat(), "The model of 2024", int(sys.argv[2]), Console(width=200))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_served_page_is_reached_at_the_printed_address_and_a_signal_ends_it(tmp_path, number, code):
    with listening(0) as door:
        port = door.getsockname()[1]
    arguments = [sys.executable, "-c", SERVED, str(tmp_path / "m.db"), str(port)]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            with urlopen(f"http://127.0.0.1:{port}") as page:
                text, headers = page.read().decode(), page.headers
        finally:  # or the test would wait for the server for ever
            process.send_signal(number)
            said, complaints = process.communicate(timeout=30)
    assert re.fullmatch(rf"The chat is at http://127.0.0.1:{port}/#[\w-]{{20,}} \(Ctrl-C ends it\).\n", line)
    assert "The model of 2024, with the memories of ann" in text
    assert "server" not in headers
    assert process.returncode == code
    assert "Traceback" not in complaints
    assert (said == "Goodbye.\n") == (number == signal.SIGINT)


def test_an_installed_package_has_the_page():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["tasks.memory"]
    for name in ("page.html", "page.css", "page.js"):
        assert any(Path(name).match(pattern) for pattern in patterns)
