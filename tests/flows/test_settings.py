"""What decides is each setting's value, wherever it stands: for DVC alone as for a run."""

import pytest
import yaml

from flows import update
from tasks.params import Params, load_params
from tests.flows.conftest import HEADER, PROJECT, dvc, run, small_params, states

GRAPH = """
stages:
  settings:
    cmd: python -m tasks settings --params params.yaml --out data/settings.json
    deps: [tasks/params.py]
    params: [{params.yaml: null}]
    outs: [data/settings.json]
  origin:
    cmd: python -m tasks origin --relations data/raw/relations.yaml --out data/examples/base
    deps: [data/raw/relations.yaml]
    outs: [data/examples/base]
  dataset:
    foreach: ${timeline}
    do:
      cmd: >-
        python -m tasks dataset --settings data/settings.json --raw data/raw/${key}
        --previous data/examples/${item.previous} --out data/examples/${key}
      deps: ["data/raw/${key}", "data/examples/${item.previous}"]
      params: [{data/settings.json: [dataset, kind]}]
      outs: ["data/examples/${key}"]
"""
STAGES = ["settings", "origin", "dataset@one", "dataset@two"]
WRITTEN = dict.fromkeys(STAGES, "cached") | {"settings": "ran"}  # the settings, and nothing that depends on them


@pytest.fixture
def root(project):
    (project / "dvc.yaml").write_text(GRAPH)
    assert run(project)["dataset@two"] == "ran"
    return project


def edit(path, old, new):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def test_after_a_run_all_is_fresh_and_dvc_agrees(root):
    assert states(root) == dict.fromkeys(STAGES, "fresh")
    assert "up to date" in dvc(root, "status")


def test_a_remark_another_order_and_a_default_make_nothing_stale(root):
    edit(root / "params.yaml", "seed: 20 ", "# a remark\nseed: 20 ")
    edit(root / "params.yaml", "kind: time        # time", "# time")
    languages, repeats = "  languages: [en, ko]\n", "  chat_repeats: 6 "
    edit(root / "params.yaml", languages + repeats, f"{repeats}\n{languages}  # ")
    assert states(root) == dict.fromkeys(STAGES, "fresh")
    assert run(root) == WRITTEN
    assert "up to date" in dvc(root, "status")


def test_another_value_makes_stale_what_depends_on_it_and_nothing_else(root):
    edit(root / "params.yaml", "chat_repeats: 6", "chat_repeats: 2")
    assert states(root) == {"settings": "stale", "origin": "fresh", "dataset@one": "stale", "dataset@two": "stale"}
    said = dvc(root, "repro")
    assert "Running stage 'dataset@one'" in said and "Running stage 'origin'" not in said
    assert run(root) == dict.fromkeys(STAGES, "cached")
    edit(root / "params.yaml", "chat_repeats: 2", "chat_repeats: 3")
    assert run(root) == dict.fromkeys(STAGES, "ran") | {"origin": "cached"}
    assert "up to date" in dvc(root, "status")


def test_a_setting_that_no_stage_reads_makes_none_run(root):
    edit(root / "params.yaml", "new_floor: 0.8", "new_floor: 0.7")
    assert states(root) == dict.fromkeys(STAGES, "fresh") | {"settings": "stale"}
    assert run(root) == WRITTEN
    assert run(root) == dict.fromkeys(STAGES, "cached")
    assert "up to date" in dvc(root, "status")


def test_a_default_that_changes_makes_stale_what_depends_on_it(root):
    edit(root / "params.yaml", "kind: time ", "# kind: time ")
    assert run(root) == WRITTEN
    edit(root / "tasks/params.py", 'kind: Kind = "time"', 'kind: Kind = "domain"')
    said = dvc(root, "repro", "dataset@one")
    assert "Running stage 'dataset@one'" in said and "Running stage 'origin'" not in said


def test_an_edit_while_a_stage_runs_waits_for_the_next_run(root, monkeypatch):
    """The stages of one run are of one mind: none reads params.yaml."""
    real = update.run_step

    def run_step(arguments, log=None):
        if "data/raw/one" in arguments:
            edit(root / "params.yaml", "chat_repeats: 6", "chat_repeats: 2")
        real(arguments, log)

    monkeypatch.setattr(update, "run_step", run_step)
    for name in ("one", "two"):
        (root / f"data/raw/{name}/facts.csv").write_text(HEADER + f"Peru,capital,{name}\n")
    assert run(root) == dict.fromkeys(STAGES, "ran") | {"settings": "cached", "origin": "cached"}
    noted = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    assert {noted[name]["params"]["data/settings.json"]["dataset"]["chat_repeats"] for name in STAGES[2:]} == {6}
    assert states(root)["dataset@one"] == "stale"


def test_what_the_settings_say_is_what_the_parameters_say(tmp_path):
    """Whatever is left out of params.yaml, the written settings are read as the same parameters."""
    from tasks.settings import settings

    settings(PROJECT / "params.yaml", tmp_path / "settings.json")
    assert load_params(tmp_path / "settings.json") == load_params(PROJECT / "params.yaml")
    assert set(yaml.safe_load((tmp_path / "settings.json").read_text())) == set(Params.model_fields)


def test_slices_keep_their_order_whatever_they_are_called(tmp_path):
    from tasks.settings import settings

    text = small_params()
    for old in ('"one"', "slice: one", "previous: one/lm"):
        text = text.replace(old, old.replace("one", "zebra"))
    (tmp_path / "params.yaml").write_text(text)
    settings(tmp_path / "params.yaml", tmp_path / "settings.json")
    assert list(load_params(tmp_path / "settings.json").timeline) == ["zebra", "two"]
