"""Finds a pretrained model: a folder, a GGUF file, or a name on the Hugging Face hub with the commit that pins it.

Whoever loads one is given a folder: libraries guess whether a text is a path or a name, ask the hub when they guess
wrong, and do so for a minute where there is no network.
"""

import re
import threading
from collections.abc import Iterator
from pathlib import Path

from tasks.artifact import file_sum, writing
from tasks.errors import BadInput, reason_of

# transformers takes PreTrainedModel.tie_weights away while it reads one: two threads at once would leave it away.
READING = threading.Lock()
MODELS = Path("~/.cache/perennial/models")  # where fetched models lie, for all projects of a user
WAIT = 2.5  # seconds for the hub to answer
HUB_NAME = re.compile(r"(?P<name>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[\w.-]+))?")
GGUF = ".gguf"
WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
UNSAFE = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")


def folder_of(source: Path | str, setting: str) -> Path:
    """The folder of a model that `setting` in params.yaml names, from the hub's cache if it is no folder.

    Args:
        source: a folder, a GGUF file, which is made a folder once, or NAME or NAME@COMMIT on the hub.
        setting: pretrain.model or encoder.model, for the sentences.

    Raises:
        BadInput: there is no such folder, it has no safetensors, or the hub has no such model or does not answer.
    """
    text = str(source).strip()
    if not text:
        raise BadInput(f"{setting} is empty. Name a folder, or a model on the hub.")
    try:
        folder = Path(text).expanduser()
        is_folder, exists = folder.is_dir(), folder.exists()
    except (OSError, RuntimeError) as error:  # no such user's home, a name that is too long
        raise BadInput(f"{setting}: '{text[:60]}' can't be a folder ({reason_of(error)}).") from error
    if is_folder:
        _refuse_without_weights(folder, setting)
        return folder
    named = HUB_NAME.fullmatch(text)
    if exists and folder.suffix == GGUF:
        return _from_file(folder)
    if exists:
        raise BadInput(f"{setting}: '{text}' is a file. Name the folder that holds the model.")
    if not named or text.startswith((".", "/", "~")):
        fetched = folder.parent == MODELS.expanduser()
        hint = f" `perennial fetch-model {folder.name}` brings it." if fetched else ""
        raise BadInput(f"{setting}: there is no folder '{text}'.{hint}")
    _refuse_what_the_hub_never_has(named["name"], setting)
    return from_hub(named["name"], named["revision"], setting)


def _refuse_what_the_hub_never_has(name: str, setting: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise BadInput(f"{setting}: '{name}' is no folder, and no model on the hub is called so.") from error


def _refuse_without_weights(folder: Path, setting: str) -> None:
    if next(files_of(folder, WEIGHTS), None):
        return
    found = next((path.name for path in files_of(folder, UNSAFE)), None)
    if found:
        raise BadInput(
            f"{setting}: '{folder}' holds its weights as {found}, which may carry code. Of .bin files "
            f"`perennial fetch-model {folder} NEW` makes safetensors without running any: name that folder."
        )
    raise BadInput(f"{setting}: '{folder}' holds no model: there is no .safetensors file in it.")


def files_of(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    """A model's files: in its folder or, as an encoder's parts are, one below; what lies deeper is another's."""
    found = (path for pattern in patterns for depth in (pattern, f"*/{pattern}") for path in folder.glob(depth))
    return (path for path in found if path.is_file())


def place_of_file(file: Path) -> Path:
    """Where the folder lies that a GGUF file is made: other bytes have another place."""
    return MODELS.expanduser() / f"{file.stem}-{file_sum(file)[:12]}"


def _from_file(file: Path) -> Path:
    """The folder that a GGUF file was made, or is made now."""
    folder = place_of_file(file)
    if not next(files_of(folder, WEIGHTS), None):
        from tasks.sources.gguf import from_gguf

        with writing(folder, manifest=False) as made:
            from_gguf(file, made)
    return folder


def from_hub(name: str, revision: str | None, setting: str) -> Path:
    """The model's files in the hub's cache, as they were at one commit; downloaded if they are not there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        cached = Path(snapshot_download(name, revision=revision, local_files_only=True))
        if next(files_of(cached, WEIGHTS), None):
            return cached
    except (LocalEntryNotFoundError, OSError, ValueError):
        pass  # it is asked for
    commit = _commit_on_hub(name, revision, setting)
    patterns = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "README.md", "LICENSE*"]
    try:
        return Path(snapshot_download(name, revision=commit, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        raise BadInput(_elsewhere(name, setting, reason_of(error))) from error


def _commit_on_hub(name: str, revision: str | None, setting: str) -> str:
    """The commit that a name means now. A thread asks, since a name server that is away blocks for as long as it likes.

    Raises:
        BadInput: the hub does not answer within seconds, or has no such model.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    if constants.HF_HUB_OFFLINE:
        raise BadInput(_elsewhere(name, setting, "HF_HUB_OFFLINE is set"))
    answers: list[str | Exception] = []

    def ask() -> None:
        try:
            answers.append(str(HfApi().model_info(name, revision=revision, timeout=WAIT).sha))
        except Exception as error:
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(WAIT)
    answer = answers[0] if answers else TimeoutError("it does not answer")
    if isinstance(answer, RepositoryNotFoundError | RevisionNotFoundError):
        raise BadInput(f"{setting}: '{name}' is neither a folder nor a model on the hub ({reason_of(answer)}).")
    if isinstance(answer, Exception):
        raise BadInput(_elsewhere(name, setting, reason_of(answer))) from answer
    return answer


def _elsewhere(name: str, setting: str, reason: str) -> str:
    return (
        f"{setting}: '{name}' is no folder, and the Hugging Face hub can't be asked for it ({reason}). Where there "
        f"is a network run `hf download {name} --local-dir {name.rpartition('/')[2]}`, and name that folder in "
        "params.yaml."
    )
