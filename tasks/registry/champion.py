"""Which version users are served: who may change it, when it is changed, and what was decided about the others.

The registry is the only source. Its alias `champion` says which version it is, and a tag of the model which one this
project last chose: if they differ, a person has chosen, and no version that was there by then takes its place.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.errors import BadInput, PerennialError
from tasks.registry import history, store
from tasks.registry.store import Names
from tasks.registry.versions import (
    LM_TAG,
    RETRIEVER_TAG,
    SCORES,
    SLICE_TAG,
    aliases_of,
    all_versions,
    drop_alias,
    file_of_run,
    run_of,
    set_alias,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"
OWNER_TAG = "perennial.owner"
CHOSEN_TAG = "perennial.champion"  # of the model: the version that was last promoted here
MOVING_TAG = "perennial.moving"  # there while the alias is moved, and after a kill in that moment: the change
HELD_TAG = "perennial.held"  # the newest version that was there when a person chose the champion
PROMOTED_TAG = "perennial.promoted"  # of a version: when it became champion
VERDICT_TAG, DECISION_TAG, GATE_TAG = "perennial.verdict", "perennial.accepted", "perennial.gate"
DECISIONS = {"accepted": "true", "refused": "false", "undecided": "undecided"}


class Owned(PerennialError):
    """The model of this name belongs to another project: nothing of it is changed."""

    exit_code = BadInput.exit_code


@dataclass(frozen=True)
class Champion:
    """The version that users are served.

    Attributes:
        version: its number. name: its slice. lm, retriever: the sums of its models' bytes.
        source: where MLflow has them. run: what was measured of them.
    """

    version: str
    name: str
    lm: str
    retriever: str
    source: str
    run: str

    def __str__(self) -> str:
        return f"{self.name} (version {self.version})"


def champion(names: Names) -> Champion | None:
    """The champion as the registry says; None if there is none.

    Raises:
        Unreachable: the registry can't be asked, so that nobody knows.
    """
    if not store.exists():
        return None
    from mlflow.exceptions import MlflowException

    try:
        version = champion_version(store.connect(), names)
    except MlflowException as error:
        raise store.Unreachable(store.cause(error)) from error
    if version is None:
        return None
    name, lm, retriever = (version.tags.get(tag, "") for tag in (SLICE_TAG, LM_TAG, RETRIEVER_TAG))
    return Champion(str(version.version), name, lm, retriever, str(version.source), run_of(version))


def champion_version(client: "MlflowClient", names: Names) -> Any | None:
    """The version that the alias names, as MLflow has it."""
    number = aliases_of(client, names).get(CHAMPION)
    return client.get_model_version(names.model, number) if number else None


def scores_of(champion: Champion) -> dict[str, Any]:
    """What was measured of the champion.

    Raises:
        Unreachable: MLflow can't be asked.
    """
    from mlflow.exceptions import MlflowException

    try:
        return file_of_run(champion.run, SCORES) or {}
    except (MlflowException, OSError) as error:
        raise store.Unreachable(store.cause(error)) from error


def claim(client: "MlflowClient", names: Names) -> None:
    """Make the registered model this project's, if it is nobody's.

    Raises:
        Owned: it is another project's.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(names.model, tags={OWNER_TAG: names.owner})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = _tags(client, names)
    if OWNER_TAG not in tags:  # somebody made it by hand
        client.set_registered_model_tag(names.model, OWNER_TAG, names.owner)
        tags = _tags(client, names)
    if (owner := tags[OWNER_TAG]) != names.owner:
        raise Owned(
            f"The registered model '{names.model}' on this MLflow server belongs to another project or machine. Give "
            f"this one a name of its own (registry.model in params.yaml), or, if it is the same project, its owner "
            f"(registry.owner: {owner})."
        )


def settle(client: "MlflowClient", names: Names) -> None:
    """Finish a promotion that was killed, and notice a champion that a person chose; call it before any publishing."""
    tags, now = _tags(client, names), aliases_of(client, names).get(CHAMPION, history.NOBODY)
    moving, chosen = _moving(tags), tags.get(CHOSEN_TAG, "")
    if moving and now == moving.version:
        _note_promotion(client, names, moving)
    elif now != chosen:
        _hold(client, names)
        history.note(client, names, history.Change(now, history.now(), history.IN_MLFLOW))
        client.set_registered_model_tag(names.model, CHOSEN_TAG, now)
    if moving:
        client.delete_registered_model_tag(names.model, MOVING_TAG)


def is_held(client: "MlflowClient", names: Names, version: Any) -> bool:
    """Whether a version may not take the champion's place by itself: it was there, or was champion, before.

    What a person took back, or chose another over, comes back by a person alone.
    """
    return PROMOTED_TAG in version.tags or int(version.version) <= int(_tags(client, names).get(HELD_TAG, "0"))


def promote(
    client: "MlflowClient", names: Names, version: Any, by: str = history.GATE, because: str = "it was accepted"
) -> None:
    """Make a version champion. Killed anywhere, `settle` finishes it, or it is as if it had not begun."""
    change = history.Change(str(version.version), history.now(), by, because)
    if aliases_of(client, names).get(CHAMPION) == change.version:
        return
    client.set_registered_model_tag(names.model, MOVING_TAG, json.dumps(change._asdict()))
    set_alias(client, names, CHAMPION, version)
    _note_promotion(client, names, change)
    client.delete_registered_model_tag(names.model, MOVING_TAG)


def choose(client: "MlflowClient", names: Names, version: Any, because: str) -> None:
    """Make a version champion since a person says so; the reason is kept, and the choice lasts until a new version.

    Raises:
        Owned: the registered model is another project's.
    """
    claim(client, names)
    settle(client, names)
    verdict = {"decision": "accepted", "reasons": [f"by a person: {because}"], "by": "person"}
    write_verdict(client, names, version, verdict)
    _hold(client, names)
    promote(client, names, version, history.person(), because)


def champion_before(client: "MlflowClient", names: Names) -> Any | None:
    """The version that was champion before this one came, not counting what was rolled back; None if there was none."""
    there = {str(each.version): each for each in former_champions(client, names)}
    changes = [change.version for change in history.changes(client, names) if change.version in there]
    came: list[str] = []
    for number in changes or sorted(there, key=lambda each: str(there[each].tags[PROMOTED_TAG])):  # an older release's
        came = [*(came[: came.index(number)] if number in came else came), number]
    earlier = [number for number in came if number != aliases_of(client, names).get(CHAMPION)]
    return there[earlier[-1]] if earlier else None


def former_champions(client: "MlflowClient", names: Names) -> list[Any]:
    """Every version that was champion, the newest first."""
    return [each for each in all_versions(client, names) if PROMOTED_TAG in each.tags]


def verdict_of(version: Any) -> dict[str, Any]:
    """What was last decided about a version; nothing if it was not judged yet."""
    verdict: dict[str, Any] = json.loads(version.tags.get(VERDICT_TAG, "{}"))
    return verdict


def write_verdict(client: "MlflowClient", names: Names, version: Any, verdict: dict[str, Any]) -> None:
    """Add a decision about a version; those before it stay beside it, numbered."""
    number = 1 + sum(tag.startswith(f"{VERDICT_TAG}.") for tag in version.tags)
    dated = json.dumps(verdict | {"at": history.now()}, sort_keys=True)
    tags = {
        f"{VERDICT_TAG}.{number:04}": dated,
        GATE_TAG: "; ".join(verdict["reasons"]),
        DECISION_TAG: DECISIONS[verdict["decision"]],
        VERDICT_TAG: dated,  # last: with it, it is decided
    }
    for tag, value in tags.items():
        client.set_model_version_tag(names.model, version.version, tag, value)


def set_challenger(client: "MlflowClient", names: Names, version: Any | None) -> None:
    """Name the newest version if it was not accepted."""
    if version is None:
        drop_alias(client, names, CHALLENGER)
    else:
        set_alias(client, names, CHALLENGER, version)


def _note_promotion(client: "MlflowClient", names: Names, change: history.Change) -> None:
    client.set_model_version_tag(names.model, change.version, PROMOTED_TAG, change.at)
    history.note(client, names, change)
    client.set_registered_model_tag(names.model, CHOSEN_TAG, change.version)


def _moving(tags: dict[str, str]) -> history.Change | None:
    """The promotion that was begun and not finished; releases before this one wrote its number alone."""
    written = tags.get(MOVING_TAG)
    if not written:
        return None
    found = json.loads(written)
    return history.Change(**found) if isinstance(found, dict) else history.Change(written, history.now())


def _hold(client: "MlflowClient", names: Names) -> None:
    """Keep all versions that are there now from taking the champion's place by themselves."""
    newest = max((int(each.version) for each in all_versions(client, names)), default=0)
    client.set_registered_model_tag(names.model, HELD_TAG, str(newest))


def _tags(client: "MlflowClient", names: Names) -> dict[str, str]:
    tags: dict[str, str] = client.get_registered_model(names.model).tags
    return tags
