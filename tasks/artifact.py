"""An output folder is there whole or not at all, and every byte of it can be checked.

A step writes into a hidden sibling; the manifest of SHA-256 sums is written last, everything is flushed
to disk, and one rename makes the folder visible. Readers check the sums before they use a byte.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tasks.errors import BadInput, Corrupt
from tasks.litter import is_litter

MANIFEST = "manifest.json"


@contextmanager
def writing(out: Path, manifest: bool = True) -> Iterator[Path]:
    """Yield an empty folder that becomes `out`, with its manifest, when the block ends without an error.

    What others made, and is only brought into a folder of its own, has no manifest: it is no step's.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(out)
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed run
    partial.mkdir()
    try:
        yield partial
        if manifest:
            write_json(partial / MANIFEST, {"files": _sums(partial)})
        for path in sorted(partial.rglob("*")):
            _flush(path)
        _flush(partial)
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
        _flush(out.parent)
    except OSError as error:
        error.filename = error.filename or str(out)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def partial_path(out: Path) -> Path:
    """Where `out` is built; .dvcignore and .gitignore know the ending."""
    return out.with_name(f".{out.name}.partial")


def write_file(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write one file so that a reader sees the old bytes or the new ones, never a part.

    Args:
        path: of the file.
        content: all of it.
        mode: who may read and write it, less what the user's umask takes; 0o600 for what is its owner's alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        partial.unlink(missing_ok=True)  # left by a kill, and perhaps of another mode
        with open(partial, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        error.filename = error.filename or str(path)  # a full disk's error names none
        raise
    _flush(path.parent)


def verified(folder: Path) -> Path:
    """Return `folder` after checking every file against its manifest.

    Raises:
        BadInput: the folder or its manifest is missing.
        Corrupt: a file is missing, was added, or has other bytes than were written.
    """
    if not (folder / MANIFEST).is_file():
        raise BadInput(f"{folder} is missing or incomplete. Run `perennial run` (or `dvc repro`) to build it.")
    expected = read_json(folder / MANIFEST)["files"]
    found = _sums(folder)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            what = "is missing" if name not in found else "is not part of it" if name not in expected else "was changed"
            raise Corrupt(f"{folder / name} {what}. Delete {folder} and run `perennial run` to rebuild it.")
    return folder


def verified_file(folder: Path, name: str) -> Path:
    """Return the path of one of a folder's files after checking it alone; no other file of the folder is read.

    Raises:
        BadInput: the folder or its manifest is missing.
        Corrupt: the file is missing, or has other bytes than were written.
    """
    if not (folder / MANIFEST).is_file():
        raise BadInput(f"{folder} is missing or incomplete. Run `perennial run` (or `dvc repro`) to build it.")
    path, expected = folder / name, read_json(folder / MANIFEST)["files"].get(name)
    if not path.is_file() or file_sum(path) != expected:
        what = "was changed" if path.is_file() else "is missing"
        raise Corrupt(f"{path} {what}. Delete {folder} and run `perennial run` to rebuild it.")
    return path


def manifest_sum(folder: Path) -> str:
    """SHA-256 of a folder's manifest: one number that stands for every byte in it."""
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def file_sum(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_text(content: Any) -> str:
    """JSON in one canonical form: sorted keys, indented, a final newline, no NaN."""
    return json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False) + "\n"


def write_json(path: Path, content: Any) -> None:
    path.write_text(json_text(content), encoding="utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """JSON lines, one row per line, keys in the order given."""
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")


def read_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _sums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    names = {path: path.relative_to(folder) for path in files}
    return {name.as_posix(): file_sum(path) for path, name in names.items() if not any(map(is_litter, name.parts))}


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
