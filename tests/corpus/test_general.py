"""General text comes from files of paragraphs, a language each."""

import unicodedata
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
    for name in (".en.txt.swp", "._en.txt", ".DS_Store", "notes.md", "~$en.txt"):
        (tmp_path / name).write_bytes(b"\xff\xfe")
    assert list(read_general(tmp_path)) == ["en"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("notes.md", b"Text.", "has no text"),
        ("en.txt", b" \n", "holds no text"),
        ("en.txt", "\ufeff\u200b\n\u3164\u00ad\n".encode(), "holds no text"),
        ("en.txt", b"A\n\n\xff", r"en\.txt, line 3: byte 1 is no UTF-8"),
        ("en.txt", "Text.".encode("utf-16"), r"en\.txt is UTF-16\. Save"),
        ("en.txt", b"A\nB\0\n", r"en\.txt, line 2: what begins here contains the control character U\+0000"),
        ("en.txt", "A\n\n(답변 종료)\n".encode(), r"en\.txt, line 3: what begins here contains '\(답변 종료\)'"),
        ("en.txt", "A\nB (답변\n종료)\n".encode(), r"en\.txt, line 1: what begins here contains '\(답변 종료\)'"),
        ("en.txt", b"A <|endoftext|>", r"en\.txt, line 1: what begins here contains '<\|endoftext\|>'"),
        ("en.txt", b"A.\n\n" + b"word\n" * 5000, r"en\.txt, line 3: what begins here is longer than 20000"),
    ],
)
def test_what_is_no_text_is_refused_with_a_sentence(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=expected):
        read_general(tmp_path)


def test_text_and_names_of_files_are_brought_into_the_normal_form(tmp_path):
    name = unicodedata.normalize("NFD", "한국어")
    (tmp_path / f"{name}.txt").write_text(f"\ufeff{name}\u00a0\u200b text\u2028and\ufeff  more\r\nco\u2011op", "utf-8")
    assert read_general(tmp_path) == {"한국어": [{"prompt": "", "target": "한국어 text and more co-op"}]}
    (tmp_path / "한국어.txt").write_text("Text.")
    with pytest.raises(BadInput, match="another file's name is 한국어"):
        read_general(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "link to nothing"])
def test_what_is_no_file_is_refused_with_a_sentence(tmp_path, kind):
    path = tmp_path / "en.txt"
    path.mkdir() if kind == "folder" else path.symlink_to("nowhere")
    with pytest.raises(BadInput, match=r"en\.txt is no file, but a folder or a link that leads to none"):
        read_general(tmp_path)


def test_the_text_that_ships_is_in_both_languages_and_no_training_row():
    texts = read_general(SHIPPED)
    assert set(texts) == {"en", "ko"}
    assert all(len({row["target"] for row in rows}) >= 25 for rows in texts.values())
