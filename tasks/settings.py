"""The parameters as they hold: what params.yaml says and, where it is silent, the defaults."""

import json
from pathlib import Path

from tasks import artifact
from tasks.params import load_params


def settings(params: Path, out: Path) -> None:
    """Write every parameter with its value, in a form that `load_params` reads as it reads params.yaml.

    The other stages depend on their sections of this file, so that a default that changes makes those stale that it
    concerns, and a default that is written out makes none.

    Raises:
        BadInput: params.yaml is wrong.
    """
    values = load_params(params).model_dump(mode="json")
    text = json.dumps(values, ensure_ascii=False, indent=1, allow_nan=False)  # unsorted: slices have an order
    artifact.write_file(out, f"{text}\n".encode())
