"""Reads a file that a user names, and says what is wrong with it as a file."""

import codecs
from pathlib import Path

from tasks.errors import BadInput
from tasks.utf8 import other_encoding


def content_of(path: Path, max_bytes: int | None = None) -> bytes:
    """The bytes of a text file, without a byte-order mark.

    Raises:
        BadInput: there is no such file, or it is a folder, too large, UTF-16 or no text.
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
    if b"\0" in content:
        raise BadInput(f"{path} is no text file. Save its text in a file of its own, in UTF-8.")
    return content.removeprefix(codecs.BOM_UTF8)
