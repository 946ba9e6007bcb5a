"""Who was champion, from when to when, by whom and why: a tag of the registered model for every change."""

import getpass
import json
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from tasks.registry import store
from tasks.registry.store import Names
from tasks.registry.versions import SLICE_TAG, all_versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

HISTORY_TAG = "perennial.history"
GATE, IN_MLFLOW = "the gate", "somebody, in MLflow"
NOBODY = ""  # the version, where the alias was taken away


class Change(NamedTuple):
    """version: that became champion. at: UTC, ISO 8601."""

    version: str
    at: str
    by: str = GATE
    because: str = ""


class Reign(NamedTuple):
    """version, slice: of the champion, both empty where there was none. until: None if it is champion still."""

    version: str
    slice: str
    since: str
    until: str | None
    by: str
    because: str


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def person() -> str:
    """Who calls, as the system names them: ann@host."""
    try:
        return f"{getpass.getuser()}@{platform.node()}"
    except (OSError, KeyError):  # a container's user without a name
        return f"a user of {platform.node()}"


def note(client: "MlflowClient", names: Names, change: Change) -> None:
    """Write a change down, unless the last one made the same version champion: a kill came before all was noted."""
    before = changes(client, names)
    if not before or before[-1].version != change.version:
        tag = f"{HISTORY_TAG}.{len(before) + 1:04}"
        client.set_registered_model_tag(names.model, tag, json.dumps(change._asdict()))


def reigns(names: Names) -> list[Reign]:
    """Every champion's time, the oldest first; none where nothing was published yet.

    Raises:
        MlflowException, OSError: the registry can't be asked.
    """
    if not store.exists():
        return []
    client = store.connect()
    versions = {str(each.version): each.tags.get(SLICE_TAG, "") for each in all_versions(client, names)}
    found = changes(client, names) if versions else []
    ends = [*(change.at for change in found[1:]), None]
    return [
        Reign(each.version, versions.get(each.version, ""), each.at, end, each.by, each.because)
        for each, end in zip(found, ends, strict=False)
    ]


def changes(client: "MlflowClient", names: Names) -> list[Change]:
    """All that were written down, the oldest first."""
    tags = client.get_registered_model(names.model).tags
    return [Change(**json.loads(tags[tag])) for tag in sorted(tags) if tag.startswith(f"{HISTORY_TAG}.")]
