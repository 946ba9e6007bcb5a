"""Shows DVC the pretrained models that params.yaml names: other weights in such a folder make its stage stale.

dvc.yaml can't name them: `small` and a name on the hub are no paths, and a dependency that is no path is an error. So
it names data/sources/<section>, which is a link to the folder or the GGUF file where there is one, and else a file with
the name. DVC follows the link, and keeps the sums of large files.
"""

import os
from pathlib import Path

from tasks.artifact import write_file
from tasks.errors import BadInput
from tasks.params import PARAMS, load_params

SOURCES = Path("data/sources")


def show_models(root: Path) -> None:
    """Bring data/sources up to date with params.yaml; nothing is touched where it is.

    Raises:
        BadInput: data/sources is no folder, or nothing can be written there.
    """
    params = load_params(root / PARAMS)
    for section, model in (("pretrain", params.pretrain.model), ("encoder", params.encoder.model)):
        try:
            _show(root / SOURCES / section, model, root)
        except (FileExistsError, NotADirectoryError) as error:
            raise BadInput(f"{SOURCES} must be a folder. Move away the file or link in its place or above.") from error
        except OSError as error:
            raise BadInput(f"{SOURCES / section} can't be written ({error.strerror}). Mend that first.") from error


def _show(place: Path, model: str, root: Path) -> None:
    if place.is_dir() and not place.is_symlink():  # the model was put here: it is the dependency as it lies
        return
    try:
        folder = Path(model).expanduser()
        found = bool(model) and ((root / folder).is_dir() or (root / folder).is_file())
    except (OSError, RuntimeError):  # no such user's home, a name that is too long: the step says so
        found = False
    if found:
        target = os.path.relpath(root / folder, place.parent) if not folder.is_absolute() else str(folder)
        if place.is_symlink() and str(place.readlink()) == target:
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(target, target_is_directory=(root / folder).is_dir())
        return
    content = f"{model}\n".encode()
    if place.is_symlink():
        place.unlink()
    elif place.is_file() and place.read_bytes() == content:
        return
    write_file(place, content)
