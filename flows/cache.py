"""How a stage's outputs come from DVC's cache and go into it, and how dvc.lock notes them.

DVC takes a read-only file of its cache for whole without reading it, and writes dvc.lock in place. Here every byte
that is restored is hashed first, a rotten object is thrown away, and dvc.lock is the old one or the new one.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.artifact import MANIFEST, verified, write_file
from tasks.errors import BadInput, Corrupt

LOCK = "dvc.lock"
NOTHING = {"schema": "2.0"}
HEAD = "schema: '2.0'\nstages:\n"


def restore(stage: Any, pull: bool = False) -> bool:
    """Bring back what the stage made of the same inputs; whether that was there, and whole.

    Args:
        stage: its outputs are gone, or such as DVC's cache has.
        pull: ask the DVC remote for what the cache lacks.
    """
    from dvc.exceptions import CheckoutError
    from dvc.stage.cache import RunCacheNotFoundError

    with _reading_every_byte(stage.repo):
        try:
            stage.repo.stage_cache.restore(stage, pull=pull)
        except (RunCacheNotFoundError, CheckoutError):
            return False
    if _as_written(stage):
        return True
    stage.remove_outs(ignore_remove=False, force=False)
    return False


def record(stage: Any, root: Path) -> None:
    """Put the stage's outputs into the cache, the run into the run-cache, and both into dvc.lock."""
    with _reading_every_byte(stage.repo):  # or a rotten object would stand for the whole one that was made anew
        stage.repo.stage_cache.save(stage)
        stage.commit()
    _note(stage, root / LOCK)


@contextmanager
def _reading_every_byte(repo: Any) -> Iterator[None]:
    """Let DVC hash an object of its cache instead of trusting it; one that is not what its name says is deleted."""
    from dvc_data.hashfile.db import HashFileDB
    from dvc_data.hashfile.state import StateNoop

    cache, whole = repo.cache.local, set()
    state = cache.state

    def check(oid: str, check_hash: bool = True, _info: Any = None) -> Any:
        meta = HashFileDB.check(cache, oid, check_hash and oid not in whole, _info)
        whole.add(oid)
        return meta

    cache.state, cache.check = StateNoop(), check
    try:
        yield
    finally:
        cache.state = state
        del cache.check


def _as_written(stage: Any) -> bool:
    """Whether the output folders are what a step wrote: `dvc commit` takes a folder that somebody edited, too."""
    try:
        for folder in (Path(out.fs_path) for out in stage.outs):
            if (folder / MANIFEST).is_file():
                verified(folder)
    except (BadInput, Corrupt, ValueError):
        return False
    return True


def _note(stage: Any, path: Path) -> None:
    """As DVC does, but in one move: it rewrites the file in place, and a kill leaves a half.

    DVC parses the whole file and writes it out again for every stage, at a cost that grows with the timeline; here
    only the stage's own lines are written anew.
    """
    from dvc.stage.serialize import to_lockfile
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    entry = to_lockfile(stage)
    text = path.read_text(encoding="utf-8") if path.exists() else HEAD
    if text.startswith(HEAD):
        text = with_entry(text, dumps_yaml({**NOTHING, "stages": entry}).removeprefix(HEAD))
    else:  # another hand wrote it
        content = parse_yaml_for_update(text, str(path)) or dict(NOTHING)
        content.setdefault("stages", {}).update(entry)
        text = dumps_yaml(content)
    write_file(path, text.encode())


def with_entry(text: str, entry: str) -> str:
    """A dvc.lock as DVC writes it, with one stage's entry in place of its old one, or behind the last."""
    name = entry.partition("\n")[0]
    before, found, rest = ("\n" + text).partition(f"\n{name}\n")
    if not found:
        return text + entry
    later = re.search(r"^ {0,2}(?!:\s)\S", rest, re.MULTILINE)  # the next stage's name; ": " is the value of a long one
    return before[1:] + "\n" + entry + (rest[later.start() :] if later else "")
