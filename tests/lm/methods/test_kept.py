"""What the methods leave for the next slice holds no training row: `keep` alone decides about rows."""

import pytest

from tasks.lm.methods import METHODS
from tasks.method_params import SETTINGS
from tests.lm.methods.a_slice import start, train_slice

REQUIRED = {"replay": {"share": 0.4}, "ewc": {"strength": 1.0}}


@pytest.mark.parametrize("name", SETTINGS)
def test_no_method_stores_a_row_of_its_own(tiny, rows, tmp_path, name):
    settings = SETTINGS[name].model_validate({"name": name, **REQUIRED.get(name, {})})
    train_slice(METHODS[name](settings, 0), rows, start(tiny, tmp_path / "base"), tmp_path / "one", steps=1)
    left = b"".join(path.read_bytes() for path in (tmp_path / "one" / "method").rglob("*") if path.is_file())
    assert left
    for row in rows:
        for text in (row["prompt"], row["target"]):
            assert len(text) < 5 or text.encode() not in left
