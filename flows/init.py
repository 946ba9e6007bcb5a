"""`perennial init`: a project of one's own that uses the installed package, and the same again after an update of it.

In a project dvc.yaml, code.json and the versions in requirements.txt are written anew, and nothing else: what its owner
took out stays out. code.json is written last, so a folder without it is no project yet, and a command that was killed
is given again; what is there already is left as it is.
"""

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from flows import starter
from flows.graph import GRAPH, in_git
from flows.locks import only_run
from flows.presets import take_presets
from tasks.artifact import write_file
from tasks.closure import CODE, PACKAGE
from tasks.errors import BadInput
from tasks.params import PARAMS
from tasks.presets import PRESETS, read_preset
from tasks.utf8 import read_utf8

IGNORED, REQUIREMENTS = ".gitignore", "requirements.txt"


def init_project(folder: Path, presets: list[str], console: Console) -> str:
    """Make a folder a project, or bring a project up to the installed package; a sentence that says what was done.

    Raises:
        BadInput: the folder has code, or another graph, or can't be written, or there is no such preset.
        Busy: a run is at work in it.
    """
    if (folder / PACKAGE).is_dir() and (folder / GRAPH).is_file():
        raise BadInput(f"{folder} has Perennial's own code, and needs no `perennial init`. Name another folder.")
    if (folder / GRAPH).is_file() and not read_utf8(folder / GRAPH).startswith(starter.MADE):
        raise BadInput(f"{folder / GRAPH} is of another project. Name an empty folder, or one that is not there yet.")
    for name in presets:
        read_preset(name, starter.shipped() / PRESETS)  # before anything is written
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with only_run(folder, "init"):
            changed = _changed_steps(folder)
            write_file(folder / GRAPH, starter.graph().encode())
            if changed is None:
                _begin(folder)
            _require(folder / REQUIREMENTS)
            write_file(folder / CODE, starter.code().encode())
    except OSError as error:
        raise BadInput(f"{folder} can't be made a project ({error.strerror}).") from error
    if presets:
        take_presets(folder, presets, console)
    here = folder.resolve() == Path.cwd()
    place, enter = ("This folder", "") if here else (folder, f"`cd {shlex.quote(str(folder))}`, ")
    if changed is None:
        return (
            f"{place} is a project now: params.yaml has every setting, data/raw what arrives, dvc.yaml the steps.\n"
            f"Next: {enter}`perennial add SLICE FOLDER`, `perennial run`."
        )
    if not changed:
        return f"{place} is up to date with the installed package."
    return f"{place} takes the installed package's code now. `perennial run` does again: {', '.join(changed)}."


def _begin(folder: Path) -> None:
    """Everything but what is written anew each time."""
    for name, text in starter.texts(folder.resolve().name).items():
        if not (folder / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_file(folder / name, text.encode())
    for source, target in _copied(folder):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    _ignore(folder / IGNORED)
    if not in_git(folder) and shutil.which("git"):
        subprocess.run(["git", "init", "--quiet", str(folder)], check=False, capture_output=True)


def _require(path: Path) -> None:
    """Pin the installed versions; other lines stay."""
    pinned = starter.requirements()
    others = [line for line in _lines(path) if line.partition("==")[0].strip() not in pinned] if path.exists() else []
    lines = [*(f"{name}=={number}" for name, number in pinned.items()), *others]
    write_file(path, "".join(f"{line}\n" for line in lines).encode())


def _copied(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Files that a project begins with and that it lacks, and their places."""
    for name in starter.FILES:
        source = starter.shipped() / name
        for path in sorted(source.iterdir()) if source.is_dir() else [source]:
            target = folder / path.relative_to(starter.shipped())
            if not target.exists():
                yield path, target


def _ignore(path: Path) -> None:
    """What git must pass over, also where there was a .gitignore already."""
    known = read_utf8(path)
    lacking = [line for line in _lines(starter.shipped() / IGNORED) if line not in known.splitlines()]
    if lacking:
        write_file(path, "\n".join([known.rstrip("\n"), *lacking, ""]).encode())


def _lines(path: Path) -> list[str]:
    return read_utf8(path).splitlines()


def _changed_steps(folder: Path) -> list[str] | None:
    """The steps whose code is another than the project's; None in a folder that is no project yet."""
    if not (folder / CODE).is_file() or not (folder / PARAMS).is_file():
        return None
    now = json.loads(starter.code())["steps"]
    try:
        before = json.loads((folder / CODE).read_text(encoding="utf-8"))["steps"]
    except (ValueError, KeyError, TypeError):
        before = {}
    return [step for step in now if before.get(step) != now[step]]
