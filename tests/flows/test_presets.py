"""`perennial run --preset`: params.yaml says what is used, and a model that is needed is fetched first."""

import shutil
from io import StringIO

import pytest
from rich.console import Console

from flows.locks import only_run
from flows.presets import print_presets, take_presets
from tasks.errors import BadInput, Busy
from tasks.params import load_params
from tests.flows.conftest import PROJECT, run


@pytest.fixture
def root(project):
    shutil.copytree(PROJECT / "presets", project / "presets")
    return project


@pytest.fixture
def page():
    return Console(width=200, file=StringIO())


def test_a_preset_is_laid_over_params_yaml_once(root, page):
    take_presets(root, ["replay"], page)
    assert "params.yaml has the settings of the preset replay now (`git diff params.yaml`)." in page.file.getvalue()
    params = load_params(root / "params.yaml")
    assert (params.stage2.how, params.keep.rows, list(params.timeline)) == ("refit", "all", ["one", "two"])
    before = (root / "params.yaml").stat().st_mtime_ns
    take_presets(root, ["replay"], page)
    assert (root / "params.yaml").stat().st_mtime_ns == before
    take_presets(root, ["small"], page)
    assert load_params(root / "params.yaml").stage2.how == "solved"
    assert set(run(root).values()) == {"ran"}


def test_a_preset_fetches_its_model_and_a_model_that_can_not_be_had_changes_nothing(root, page, monkeypatch):
    fetched = []
    monkeypatch.setattr("tasks.sources.fetching.fetch", lambda name: (fetched.append(name), "from the hub, org/it"))
    take_presets(root, ["smollm2-135m"], page)
    assert fetched == ["smollm2-135m"] and "from the hub, org/it" in page.file.getvalue()

    def refuse(name):
        raise BadInput("The hub does not answer.")

    monkeypatch.setattr("tasks.sources.fetching.fetch", refuse)
    take_presets(root, ["small"], page)
    before = (root / "params.yaml").read_text()
    with pytest.raises(BadInput, match="does not answer"):
        take_presets(root, ["smollm2-135m"], page)
    assert (root / "params.yaml").read_text() == before


def test_settings_are_not_changed_below_a_run(root, page):
    with only_run(root), pytest.raises(Busy):
        take_presets(root, ["replay"], page)
    assert load_params(root / "params.yaml").stage2.how == "solved"


def test_the_list_names_every_preset_with_its_licence(root, page):
    print_presets(root, page)
    told = page.file.getvalue()
    for path in (root / "presets").glob("*.yaml"):
        assert path.stem in told
    assert "SmolLM2-135M-Instruct, English" in told and "Apache-2.0" in told
