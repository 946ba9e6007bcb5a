from pathlib import Path

import pytest
import yaml

from tasks.errors import BadInput
from tasks.params import load_params
from tasks.steps import STEPS, run_step, sections_of

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "params.yaml").read_text()


@pytest.fixture
def edited(tmp_path):
    def edit(old, new):
        assert old in TEXT
        path = tmp_path / "params.yaml"
        path.write_text(TEXT.replace(old, new, 1))
        return path

    return edit


def test_the_default_parameters_are_valid():
    assert list(load_params(ROOT / "params.yaml").timeline) == ["2020", "2021", "2022", "2023", "2024"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  steps:", "  stepz:", "stepz"),
        ('"2020": {previous: base}', "2020: {previous: base}", "must be quoted"),
        ('"2021": {previous: "2020"}', '"2021": {previous: "2019"}', "slice '2021' must follow '2020'"),
        ('"2021": {previous: "2020"}', 'topics: {previous: "2020"}', "'topics' can't be a slice's name"),
        ("  vocabulary: ", "  vocabulary: 0.", "encoder.vocabulary"),
        ("  copies: ", "  copies: -", "encoder.copies"),
        ("  similarity: ", "  similarity: un", "pairs.similarity"),
        ("  ranker: ", "  ranker: un", "retriever.ranker"),
        ("  max_false: ", "  max_false: 1", "retriever.max_false"),
        ("share: 0.75", "share: 2.75", "methods"),
        ("name: replay", "name: magic", "methods"),
        ("seed: 20", "seed: 20\nseed: 21", "given twice"),
        ("seed: 20", "seed: [20", "params.yaml"),
        ("seed: 20", "seed: &a 20\nother: *a", "aliases"),
    ],
)
def test_a_mistake_in_params_is_named(edited, old, new, expected):
    with pytest.raises(BadInput, match=expected):
        load_params(edited(old, new))


def test_a_huge_params_file_is_refused(tmp_path):
    (tmp_path / "params.yaml").write_text("#" * 300_000)
    with pytest.raises(BadInput, match="larger than"):
        load_params(tmp_path / "params.yaml")


def test_dvc_tracks_exactly_the_sections_that_a_step_reads():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for stage in stages.values():
        body = stage.get("do", stage)
        step = body["cmd"].split()[3]
        assert set(body.get("params", [])) == sections_of(step), step


def test_every_step_is_a_stage_and_its_paths_are_deps_and_outs():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    bodies = [stage.get("do", stage) for stage in stages.values()]
    assert {body["cmd"].split()[3] for body in bodies} == set(STEPS)
    for body in bodies:
        words = body["cmd"].split()
        named = set(words[5::2])
        assert set(body["outs"]) <= named
        assert named - set(body["outs"]) <= set(body["deps"])


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["stage3"], "Unknown step 'stage3'"),
        ([], "Unknown step"),
        (["dataset", "--raw"], "Usage"),
        (["dataset", "--raw", "a", "--out", "b"], "--previous is missing"),
        (["dataset", "--raw", "a", "--out", "b", "--previous", "c", "--extra", "d"], "--extra is unknown"),
    ],
)
def test_a_step_called_wrongly_says_so(argv, expected, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(BadInput, match=expected):
        run_step(argv)


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ("{name: lora}, {name: ewc, strength: 1.0}", "ewc needs the model's own weights trained, which lora freezes"),
        ("{name: lora}, {name: frozen_bottom}", "lora and frozen_bottom both choose what is trained"),
        ("{name: replay, share: 0.4}, {name: replay, share: 0.2}", "named twice"),
    ],
)
def test_methods_that_make_no_sense_together_are_refused(edited, methods, expected):
    with pytest.raises(BadInput, match=expected):
        load_params(edited("  - {name: replay, share: 0.75}", f"  - {methods}".replace("}, {", "}\n  - {")))


def test_the_tables_of_what_fits_say_what_the_methods_say():
    from tasks.lm.methods import METHODS
    from tasks.params import ADAPTERS, NEEDS_ALL, SUBSETS

    said = {name: method.weights for name, method in METHODS.items()}
    for names, weights in ((NEEDS_ALL, "all"), (ADAPTERS, "adapter"), (SUBSETS, "subset")):
        assert names == {name for name, value in said.items() if value == weights}


def test_every_method_is_in_the_comparison():
    from tasks.lm.methods import METHODS

    compared = load_params(ROOT / "params.yaml").comparison.entries.values()
    assert set(METHODS) == {method.name for entry in compared for method in entry.methods}
