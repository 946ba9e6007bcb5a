"""Reads the text files that people give: UTF-8, or a sentence that says what they are."""

import codecs
from pathlib import Path

from tasks.errors import BadInput

MARKS = {  # UTF-32's first: the one of little-endian begins with that of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
ZEROS = {  # of the first four bytes, where ASCII characters begin a file without a mark; 1: not zero
    b"\1\0\1\0": "UTF-16",
    b"\0\1\0\1": "UTF-16",
    b"\1\0\0\0": "UTF-32",
    b"\0\0\0\1": "UTF-32",
}


def read_utf8(path: Path) -> str:
    """The text of a file, with U+000A as line ends; a byte-order mark at its beginning is no part of it.

    Raises:
        BadInput: as content_of and decoded.
    """
    return decoded(path, content_of(path))


def content_of(path: Path, max_bytes: int | None = None) -> bytes:
    """The bytes of a file that should be a text.

    Raises:
        BadInput: there is no such file, or it is a folder, too large, UTF-16 or UTF-32, or can't be read.
    """
    try:
        if path.is_dir():
            raise BadInput(f"{path} is a folder. Name the files in it.")
        if not path.is_file():
            raise BadInput(f"There is no file {path}.")
        if max_bytes and path.stat().st_size > max_bytes:
            raise BadInput(f"{path} is larger than {max_bytes // 1024**2} MiB. Split it into several files.")
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} can't be read ({error.strerror}).") from error
    if reason := other_encoding(content):
        raise BadInput(f"{path} {reason}")
    return content


def refuse_binary(path: Path, content: bytes) -> None:
    """Raise BadInput if a file that somebody named holds no text at all, such as a PDF."""
    if b"\0" in content:
        raise BadInput(f"{path} is no text file. Save its text in a file of its own, in UTF-8.")


def decoded(path: Path, content: bytes) -> str:
    """A file's content as text.

    Raises:
        BadInput: a byte is no UTF-8; by line.
    """
    content = with_line_feeds(content)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = error.start - content.rfind(b"\n", 0, error.start)
        raise BadInput(f"{path}, line {line}: {no_utf8(byte)}") from error


def other_encoding(content: bytes) -> str | None:
    """Why a whole file can't be read, as the end of a sentence; None if it may be UTF-8."""
    found = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
    found = found or ZEROS.get(bytes(map(bool, content[:4])))
    return found and f"is {found}. Save the file as UTF-8."


def with_line_feeds(content: bytes) -> bytes:
    """The bytes without a spreadsheet's byte-order mark at their beginning, and with one kind of line end."""
    return content.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def no_utf8(byte: int) -> str:
    """The end of a sentence about the line in which this byte, from 1, is no UTF-8."""
    return f"byte {byte} is no UTF-8. Save the file as UTF-8."
