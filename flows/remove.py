"""`perennial remove`: takes the newest slices out of the timeline again; their data is moved aside, never deleted.

A kill leaves a whole state wherever it falls. Outputs go first: DVC's cache has them, so a slice that lost some and is
still in the timeline gets them back in the next run. Then params.yaml is replaced in one moment. Then the data is moved
aside; where that was not reached, the same command does it.
"""

import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from flows import graph as graphs
from flows.add import RAW
from flows.erase import note
from flows.locks import only_run
from tasks.artifact import write_file
from tasks.corpus.raw import ERASED
from tasks.errors import BadInput
from tasks.params import PARAMS, Params, is_slice_name, load_params
from tasks.params_text import without

REMOVED = Path(".perennial/removed")
SECTIONS = ("timeline", "reference")


def remove_slices(root: Path, name: str, with_later: bool = False) -> str:
    """Remove a slice from the timeline, with its data and what was built from it; a sentence that says what was done.

    Args:
        root: the project's folder.
        name: the slice.
        with_later: remove those that were trained from it, too, instead of refusing.

    Raises:
        BadInput: there is no such slice, later ones follow from it, or it is the oldest.
        Busy: a run is at work.
    """
    with only_run(root, "remove"):
        params = load_params(root / PARAMS)
        if name not in params.timeline:
            names = [_left_behind(root, name, params)]
        else:
            names = _from(name, params, with_later)
            text = without_slices((root / PARAMS).read_text(encoding="utf-8"), names)
            _delete_outputs(root, names)
            _replace_params(root, text, [each for each in params.timeline if each not in names])
        newest = list(load_params(root / PARAMS).timeline)[-1]
        if erased := {line for each in names for line in _erased(root, each)}:
            note(root, newest, erased)
        kept = [str(path) for each in names if (path := _move_aside(root, each))]
    done = f"Removed {', '.join(names)}; {newest} is the newest slice."
    if erased:
        done += f" What was erased stays so: {RAW / newest / ERASED} names it now."
    if kept:
        done += f" What came in lies in {', '.join(kept)}: `perennial add` takes it back."
    return (
        f"{done} Commit {RAW} and {PARAMS} with git. Next: `perennial run`.\n"
        "The registry keeps what was published; its champion stays until another version is promoted."
    )


def without_slices(text: str, names: list[str]) -> str:
    """The text of params.yaml without these slices; no other line changes, but `reference:` where nothing is left."""
    for section in SECTIONS:
        text = without(text, (section,), names)
    return text


def _from(name: str, params: Params, with_later: bool) -> list[str]:
    """The slice and those after it: each trains from the one before."""
    names = list(params.timeline)
    names = names[names.index(name) :]
    if len(names) == len(params.timeline):
        raise BadInput(f"{name} is the oldest slice: the base is built from it, and all others follow.")
    if len(names) > 1 and not with_later:
        raise BadInput(
            f"{', '.join(names[1:])} follow from {name}. Remove them as well: `perennial remove {name} --with-later`."
        )
    return names


def _left_behind(root: Path, name: str, params: Params) -> str:
    """The slice, if its data still lies where the timeline no longer looks: a kill, or somebody's editor, left it."""
    if is_slice_name(name) and ((root / RAW / name).exists() or _pointer(root, name).exists()):
        return name
    raise BadInput(f"There is no slice '{name}'. The slices are: {', '.join(params.timeline)}.")


def _delete_outputs(root: Path, names: list[str]) -> None:
    with graphs.opened(root) as graph:
        outputs = [Path(out.fs_path) for stage in graph.stages if graphs.slice_of(stage.addressing) in names
                   for out in stage.outs]  # fmt: skip
    for path in outputs:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        with suppress(OSError):  # others are in it
            path.parent.rmdir()


def _replace_params(root: Path, text: str, left: list[str]) -> None:
    before = (root / PARAMS).read_text(encoding="utf-8")
    try:
        write_file(root / PARAMS, text.encode())
        if list(load_params(root / PARAMS).timeline) != left:
            raise BadInput(f"{PARAMS} could not be shortened. Take the slice out by hand.")
    except BaseException:
        write_file(root / PARAMS, before.encode())
        raise


def _erased(root: Path, name: str) -> list[str]:
    """What a slice erases, which must not come back with the model before it."""
    path = root / RAW / name / ERASED
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _move_aside(root: Path, name: str) -> Path | None:
    """Move what came in out of the timeline's sight; where that is only DVC's pointer to it, the pointer."""
    data, pointer = root / RAW / name, _pointer(root, name)
    kept = root / REMOVED / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
    kept.parent.mkdir(parents=True, exist_ok=True)
    if pointer.exists():
        if not data.exists():
            kept = kept.with_name(f"{kept.name}.dvc")
            shutil.copyfile(pointer, kept)
        with graphs.opened(root) as graph:
            graph.repo.remove(str(pointer.relative_to(root)))
    if data.exists():
        shutil.move(data, kept)
    return kept.relative_to(root) if kept.exists() else None


def _pointer(root: Path, name: str) -> Path:
    return root / RAW / f"{name}.dvc"
