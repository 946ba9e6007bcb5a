"""`perennial chat --web`: the same models, memories and complaints as the chat in the terminal."""

import sys
from types import SimpleNamespace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from flows import serve
from flows.commands import app
from flows.serve import serve_chat
from tasks import artifact
from tasks.errors import BadInput, PerennialError
from tasks.memory import web
from tasks.registry.champion import Champion
from tasks.registry.store import Unreachable

QUIET = Console(quiet=True)


CHAMPION = Champion("5", "two", "", "", "", "")


@pytest.fixture(autouse=True)
def registry(monkeypatch, project):
    """Names the champion, whose models lie in models/two; the real one has its own tests."""
    stand_in = SimpleNamespace(champion=lambda names: CHAMPION, scores_of=lambda champion: {})
    monkeypatch.setitem(sys.modules, "tasks.registry.champion", stand_in)
    fetched = SimpleNamespace(models_of=lambda champion, root: root / "models" / champion.name)
    monkeypatch.setitem(sys.modules, "tasks.registry.fetch", fetched)
    return stand_in


@pytest.mark.parametrize(
    ("chosen", "served", "told"),
    [
        (None, "two", "The champion, two (version 5)"),
        ("one", "one", "The model of one in models/one, champion or not"),
    ],
)
def test_the_champion_is_served_or_the_chosen_slices_model(project, monkeypatch, chosen, served, told):
    for part in ("lm", "retriever"):
        with artifact.writing(project / "models" / served / part) as partial:
            (partial / "weights").write_text(part)
    calls = []
    monkeypatch.setattr(web, "serve", lambda *arguments: calls.append(arguments))
    serve_chat(project, chosen, "ann", 8765, QUIET)
    folder, store = project / "models" / served, project / ".perennial/memories.db"
    settings, documents = calls[0][4], ("always", 0.0, None)
    assert calls == [(folder / "lm", folder / "retriever", store, "ann", settings, told, 8765, QUIET, documents)]
    assert settings.memories > 0


def test_it_needs_a_model_and_says_how_to_get_one(project, registry):
    with pytest.raises(BadInput, match="There is no slice 'nine'. The slices are: one, two"):
        serve_chat(project, "nine", "me", 8765, QUIET)
    with pytest.raises(BadInput, match="models/two/lm is missing or incomplete. Run `perennial run`"):
        serve_chat(project, "two", "me", 8765, QUIET)
    registry.champion = lambda names: None
    with pytest.raises(BadInput, match="No model is champion yet"):
        serve_chat(project, None, "me", 8765, QUIET)

    def away(names):
        raise Unreachable("The MLflow server does not answer.")

    registry.champion = away
    with pytest.raises(PerennialError, match="nobody knows the champion now: choose one with `--model SLICE`"):
        serve_chat(project, None, "me", 8765, QUIET)


def test_the_command_line_serves_on_the_port_that_was_asked_for(project, monkeypatch):
    calls = []
    monkeypatch.chdir(project)
    monkeypatch.setattr(serve, "serve_chat", lambda *arguments: calls.append(arguments[:4]))
    CliRunner().invoke(app, ["chat", "--web", "--user", "ann"], catch_exceptions=False)
    CliRunner().invoke(app, ["chat", "--web", "--port", "9000", "--model", "one"], catch_exceptions=False)
    assert calls == [(project, None, "ann", 8765), (project, "one", "me", 9000)]
    refused = CliRunner().invoke(app, ["chat", "--web", "--port", "80"])
    assert refused.exit_code == 2 and "1024" in refused.output
