"""`perennial promote`: a person makes a version champion."""

from pathlib import Path

from tasks.errors import BadInput, PerennialError, reason_of
from tasks.params import PARAMS, load_params
from tasks.registry import store


def promote_version(root: Path, version: str, because: str) -> str:
    """Make a version champion, whatever the gate said; what was done, as a sentence.

    Raises:
        BadInput: there is no such version, or no reason.
        PerennialError: MLflow does not answer, or the model is another project's.
    """
    from tasks.registry import champion as champions
    from tasks.registry.versions import find_version

    if not because.strip():
        raise BadInput("Say why: `perennial promote VERSION --because REASON`. The reason is kept beside the version.")
    names = store.names_of(load_params(root / PARAMS).registry)
    try:
        client, before = store.connect(), champions.champion(names)
        champions.choose(client, names, find_version(client, names, version), because)
        now = champions.champion(names)
    except store.failures() as error:
        raise PerennialError(f"Nothing was changed in MLflow: {reason_of(error)}.") from error
    was = f"; before it was {before}" if before and before != now else ""
    return f"The champion is {now}{was}."
