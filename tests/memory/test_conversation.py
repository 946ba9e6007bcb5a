import io
from dataclasses import replace

import pytest
from rich.console import Console

from tasks.errors import BadInput
from tasks.memory import conversation
from tasks.memory.conversation import converse, show, talk
from tasks.memory.store import learn, memories_of, opened, remember
from tasks.memory.turn import NO_ANSWER, take_turn
from tasks.params import Chat


@pytest.fixture
def said(monkeypatch, store, means, model):
    """Talks through lines and returns what stands on the screen; the end of the lines is the end of the input."""

    def through(*lines, answer="Fine."):
        model.says = answer
        console = Console(file=io.StringIO(), width=100)
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        with pytest.raises(EOFError) if "/exit" not in lines else io.StringIO():
            talk(store, "ann", means, console)
        return console.file.getvalue()

    return through


def test_an_answer_shows_the_memory_behind_it_and_its_cosine(store, said):
    remember(store, "ann", "town", "Cork")
    shown = said("Which town?", answer="You live in Cork.")
    assert "You live in Cork." in shown and "memory: town: Cork (1.00)" in shown


def test_an_answer_from_documents_shows_where_they_say_so(store, said):
    learn(store, "ann", "notes.md", "d", [("Travel", "The train leaves at nine."), ("", "[bold]A train.\x1b[31m")])
    shown = said("Which train?", answer="At nine.")
    assert "from notes.md § Travel (1.00)" in shown and "from notes.md (1.00)" in shown
    assert "memory:" not in shown


def test_what_was_saved_is_said_and_listed(said):
    shown = said("I moved.", "/memory", answer="[town: Cork] Nice!")
    assert "remembered: town: Cork" in shown and "since" in shown


def test_an_instruction_is_shown_beside_the_answer(store, means, model):
    console = Console(file=io.StringIO(), width=100)
    model.says = "[expression: smile] Hi."
    show(take_turn(store, "ann", "Hello.", replace(means, parts={"expression": []})), console)
    assert console.file.getvalue() == "Hi.\nexpression: smile\n"


def test_reset_forgets_everything_of_this_user_only(store, said):
    remember(store, "ann", "town", "Cork")
    remember(store, "bob", "town", "Leeds")
    shown = said("/reset", "/memory")
    assert "1 memory forgotten." in shown and "Nothing is remembered yet." in shown
    assert len(memories_of(store, "bob")) == 1


def test_exit_leaves_help_lists_and_an_unknown_command_is_named(said):
    shown = said("/help", "/quit", "", "/exit", "not reached")
    assert "/reset" in shown and "There is no /quit." in shown and shown.count("Fine.") == 0


def test_an_answer_is_text_and_never_markup_or_control_characters(said):
    shown = said("Hi", answer="a [bold]b[/bold] [/x] \x1b[31mred")
    assert "a [bold]b[/bold] [/x]" in shown and "\x1b" not in shown


def test_an_empty_answer_is_said_to_be_one(said):
    assert NO_ANSWER in said("Hi", answer="")


@pytest.mark.parametrize("retriever", ["retriever", "untrained", None])
def test_a_piped_conversation_runs_to_the_end_of_its_input(models, tmp_path, monkeypatch, retriever):
    with opened(tmp_path / "m.db") as connection:
        remember(connection, "ann", "home town", "Cork")
    console = Console(file=io.StringIO(), width=100)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"[home town: Cork]\nbroken \xff bytes\n"), "utf-8"))
    converse(models / "lm", retriever and models / retriever, tmp_path / "m.db", "ann", Chat(), console)
    shown = console.file.getvalue()
    assert shown.endswith("Goodbye.\n")
    assert ("memory: home town: Cork" in shown) == (retriever == "retriever")


def test_a_conversation_keeps_to_the_limit_of_memories(models, tmp_path, monkeypatch):
    limits = []
    monkeypatch.setattr(conversation, "talk", lambda connection, *_: limits.append(
        connection.execute("SELECT memory_limit()").fetchone()[0])
    )  # fmt: skip
    converse(models / "lm", None, tmp_path / "m.db", "ann", Chat(memories=7), Console(file=io.StringIO()))
    assert limits == [7]


def test_ctrl_c_ends_politely(models, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(conversation, "talk", interrupted)
    console = Console(file=io.StringIO())
    converse(models / "lm", None, tmp_path / "m.db", "ann", Chat(), console)
    assert console.file.getvalue().endswith("Goodbye.\n")


def test_an_unsafe_user_is_refused_before_anything_is_loaded(tmp_path):
    with pytest.raises(BadInput, match="user's name"):
        converse(tmp_path / "no model", None, tmp_path / "m.db", "../ann", Chat(), Console())
    assert not (tmp_path / "m.db").exists()
