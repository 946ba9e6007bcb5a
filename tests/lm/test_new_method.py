"""The recipe of docs/new_method.md, followed to the letter: its code is taken from the page and trained with."""

import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
import torch
from pydantic import Field, TypeAdapter
from safetensors.torch import load_file

from tasks import method_params
from tasks.lm.methods.method import Method
from tasks.method_kinds import fitting
from tests.lm.methods.a_slice import start, train_slice, weights

PAGE = Path(__file__).parents[2] / "docs" / "new_method.md"


@pytest.fixture(scope="module")
def recipe():
    """The settings' class and the method's, from the page, and how many lines of code they take."""
    settings, method = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names = {**vars(method_params), "Literal": Literal}
    exec(settings, names)
    exec(method, names)
    return names["Anchor"], names["AnchorSettings"], [line for line in f"{settings}{method}".splitlines() if line]


def test_a_method_takes_at_most_forty_lines(recipe):
    assert 20 < len(recipe[2]) <= 40


def test_its_settings_are_read_like_those_of_the_methods_that_are_there(recipe):
    adapter = TypeAdapter(Annotated[recipe[1] | method_params.EWC, Field(discriminator="name")])
    assert adapter.validate_python({"name": "anchor", "strength": 0.5}).strength == 0.5


def distance(one, other):
    return sum(float(((one[name] - other[name]) ** 2).sum()) for name in other)


def test_its_kind_decides_which_lists_are_refused(recipe):
    anchor = recipe[1](name="anchor")
    assert fitting((anchor,)) == (anchor,)
    with pytest.raises(ValueError, match="anchor needs the model's own weights trained, which lora freezes"):
        fitting((method_params.LoRA(name="lora"), anchor))


def test_it_works_in_the_loop_and_pulls_to_the_mean_of_all_slices(recipe, tiny, rows, tmp_path):
    method, settings, _ = recipe
    assert issubclass(method, Method)
    base = start(tiny, tmp_path / "base")

    def trained(strength, previous, name):
        train_slice(method(settings(name="anchor", strength=strength), 0), rows, previous, tmp_path / name)
        return weights(tmp_path / name), load_file(tmp_path / name / "method" / "anchor.safetensors")

    first, kept = trained(0.01, base, "one")
    assert all(torch.equal(kept[name], value) for name, value in first.items())
    second, mean = trained(0.01, tmp_path / "one", "two")
    name = "lm_head.weight"
    torch.testing.assert_close(mean[name], (first[name] + second[name]) / 2)
    assert mean["seen"].item() == 2
    pulled, _ = trained(10.0, tmp_path / "one", "pulled")
    assert distance(pulled, first) < 0.5 * distance(second, first)
