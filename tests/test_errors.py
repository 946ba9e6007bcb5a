"""What a sentence quotes reaches a terminal, where it must be text and nothing else."""

import pytest

from tasks.errors import BadInput, Busy, reason_of


@pytest.mark.parametrize(
    ("quoted", "expected"),
    [
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x9b2J\x7f\r\x85", "\\x9b2J\\x7f\\r\\x85"),
        ("\u202eabc\u2066\u2028", "\\u202eabc\\u2066\\u2028"),
        ("half \ud83d", "half \\ud83d"),
        ("서울 👩\u200d🚀 می\u200cخواهم\n\tnext", "서울 👩\u200d🚀 می\u200cخواهم\n\tnext"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(quoted, expected):
    for kind in (BadInput, Busy):
        assert str(kind(f"'{quoted}' is no name.")) == f"'{expected}' is no name."
    str(BadInput(quoted)).encode()


def test_a_librarys_reason_is_written_out_as_well():
    assert reason_of(ValueError("no file \x1b[2J.")) == "no file \\x1b[2J"
