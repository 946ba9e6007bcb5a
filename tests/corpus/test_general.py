"""General text comes from files of paragraphs, a language each."""

from pathlib import Path

import pytest

from tasks.corpus.general import read_general
from tasks.errors import BadInput

SHIPPED = Path(__file__).parents[2] / "data/raw/general"


def test_an_empty_line_parts_paragraphs_and_a_line_break_does_not(tmp_path):
    (tmp_path / "en.txt").write_text("\ufeff\n\nOne line\nand its end.\n \nAnother.\n\n\n", encoding="utf-8")
    assert [row["target"] for row in read_general(tmp_path)["en"]] == ["One line and its end.", "Another."]


def test_only_the_text_files_that_are_shown_count(tmp_path):
    (tmp_path / "en.txt").write_text("Text.")
    for name in (".en.txt.swp", "._en.txt", ".DS_Store", "notes.md"):
        (tmp_path / name).write_bytes(b"\xff\xfe")
    assert list(read_general(tmp_path)) == ["en"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [("notes.md", b"Text.", "has no text"), ("en.txt", b" \n", "holds no text"), ("en.txt", b"\xff", "is no UTF-8")],
)
def test_what_is_no_text_is_refused_with_a_sentence(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=expected):
        read_general(tmp_path)


def test_the_text_that_ships_is_in_both_languages_and_no_training_row():
    texts = read_general(SHIPPED)
    assert set(texts) == {"en", "ko"}
    assert all(len({row["target"] for row in rows}) >= 25 for rows in texts.values())
