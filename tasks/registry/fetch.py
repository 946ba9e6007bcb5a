"""The champion's models as a folder that nothing changes any more: linked from where they were made, or fetched.

`models/<slice>` holds what the last run made, which the gate may have refused, or nothing while it is made anew.
"""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from tasks import artifact
from tasks.errors import BadInput, Corrupt, reason_of
from tasks.registry import store
from tasks.registry.champion import Champion
from tasks.registry.versions import LM, RETRIEVER

MODELS, SERVING = Path("models"), Path(".perennial/serving")


def models_of(champion: Champion, root: Path) -> Path:
    """A folder with the `lm` and the `retriever` of exactly this version, every byte checked.

    Raises:
        Unreachable: they are not here, and MLflow can't be asked for them.
        Corrupt: MLflow has other bytes than the version had when it was registered.
    """
    folder = root / SERVING / f"{champion.version}-{champion.lm[:16]}"
    if not _holds(folder, champion):
        shutil.rmtree(folder, ignore_errors=True)
        _make(folder, champion, root)
        for other in folder.parent.iterdir():  # who has one of these open keeps what it has read
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
    return folder


def _make(folder: Path, champion: Champion, root: Path) -> None:
    partial = artifact.partial_path(folder)
    partial.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    here = root / MODELS / champion.name
    try:
        for part in (LM, RETRIEVER):
            shutil.copytree(here / part, partial / part, copy_function=_link)
    except (OSError, shutil.Error):
        pass  # it is not there, or is being replaced at this moment
    if not _holds(partial, champion):
        shutil.rmtree(partial, ignore_errors=True)
        _fetch(partial, champion)
    if not _holds(partial, champion):
        shutil.rmtree(partial, ignore_errors=True)
        raise Corrupt(
            f"MLflow has other bytes than version {champion.version} had when it was registered. `perennial run` "
            "registers it anew, or choose another with `perennial promote`."
        )
    partial.rename(folder)


def _link(source: str, target: str) -> None:
    """No second copy on the disk: what a step makes is replaced, and never written into."""
    try:
        os.link(Path(source).resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _fetch(partial: Path, champion: Champion) -> None:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        with TemporaryDirectory(dir=partial.parent) as copy:
            stored = Path(download_artifacts(champion.source, dst_path=copy)) / "artifacts"
            partial.mkdir()
            for part in (LM, RETRIEVER):
                (stored / part).rename(partial / part)
    except (MlflowException, OSError) as error:
        raise store.Unreachable(f"Version {champion.version} can't be had from MLflow ({reason_of(error)}).") from error


def _holds(folder: Path, champion: Champion) -> bool:
    """Whether the folder holds the champion's bytes."""
    try:
        for part, expected in ((LM, champion.lm), (RETRIEVER, champion.retriever)):
            if artifact.manifest_sum(artifact.verified(folder / part)) != expected and expected:
                return False
    except (BadInput, Corrupt, OSError):
        return False
    return True
