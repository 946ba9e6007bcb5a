"""Chat is measured on what was taught: the newest output to an input, each input once."""

from tasks.corpus.language import chat_rows
from tasks.corpus.slices import Examples
from tasks.scoring.chat import ask_chat, chat_accuracy, taught


def chat(name, **outputs):
    rows = [(line, {"input": asked, "output": said}) for line, (asked, said) in enumerate(outputs.items(), 1)]
    return Examples(name=name, train=chat_rows(name, rows, 3))


def test_each_input_is_asked_once_for_its_newest_output():
    rows = taught([chat("one", hello="hi", bye="see you"), chat("two", hello="good day")])
    assert sorted((row["prompt"], row["target"]) for row in rows) == [("bye", "see you"), ("hello", "good day")]


def test_where_no_slice_brought_chat_there_is_no_figure(tiny):
    assert chat_accuracy(ask_chat(*tiny, [Examples(name="one")], 10, 96)) is None


def test_the_figure_is_the_share_answered_word_for_word_and_at_most_so_many_are_asked(tiny, monkeypatch):
    asked = []

    def right(model, tokenizer, rows, batch_tokens):
        asked.append([row["prompt"] for row in rows])
        return [row["target"] == "hi" for row in rows]

    monkeypatch.setattr("tasks.scoring.chat.exact_matches", right)
    slices = [chat("one", hello="hi", bye="see you", thanks="hi", sorry="never mind")]
    assert chat_accuracy(ask_chat(*tiny, slices, 10, 96)) == 0.5
    ask_chat(*tiny, slices, 2, 96)
    assert asked[1] == asked[0][:2]
