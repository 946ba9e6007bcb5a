import inspect
from pathlib import Path
from typing import get_args

import pytest
import yaml

from tasks.__main__ import main
from tasks.closure import code_of
from tasks.errors import BadInput
from tasks.method_kinds import Family
from tasks.method_params import SETTINGS
from tasks.params import Keep, load_params
from tasks.steps import STEPS, run_step, sections_of
from tests.replaying import replaying
from tests.test_rooms import imported

ROOT = Path(__file__).parents[1]
TEXT = replaying((ROOT / "params.yaml").read_text())


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
        ("accumulate: 1 ", "accumulate: 64 ", "parts of less than 16 tokens of a batch of 512: at most 32 parts"),
        ('"2020": {previous: base}', "2020: {previous: base}", "must be quoted"),
        ('"2021": {previous: "2020"}', '"2021": {previous: "2019"}', "slice '2021' must follow '2020'"),
        ('"2021": {previous: "2020"}', 'topics: {previous: "2020"}', "'topics' can't be a slice's name"),
        ("  vocabulary: ", "  vocabulary: 0.", "encoder.vocabulary"),
        ("  copies: ", "  copies: -", "encoder.copies"),
        ("  similarity: ", "  similarity: un", "pairs.similarity"),
        ("  ranker: ", "  ranker: un", "retriever.ranker"),
        ("  max_false: ", "  max_false: 1", "retriever.max_false"),
        ("- {name: replay, share: 0.75", "- {name: replay, share: 2.75", "methods"),
        ("- {name: replay", "- {name: magic", "methods"),
        ("seed: 20", "seed: 20\nseed: 21", "given twice"),
        ("seed: 20", "seed: [20", "params.yaml"),
        ("seed: 20", "seed: &a 20\nother: *a", "aliases"),
        ("seed: 20", "seed: true", "seed"),
        ("seed: 20", "seed: -1", "seed"),
        ("seed: 20", "seed: 99999999999999999999999", "seed"),
        ("threads: 2", "threads: true", "threads"),
        ("learning_rate: 1.0e-2", "learning_rate: .inf", "encoder.learning_rate"),
        ("learning_rate: 1.0e-2", "learning_rate: 1e400", "encoder.learning_rate"),
        ("seeds: [20, 21, 22]", "seeds: []", "comparison.seeds"),
        ("seeds: [20, 21, 22]", "seeds: [20, 21, 20]", "comparison.seeds: 20 stands there twice"),
        ("default: solved ", "default: nope ", "comparison: default is 'nope', which is none of entries: joint, naive"),
        ("    naive: {keep", "    ../../naive: {keep", r"comparison: '../../naive' can't be an entry's name"),
        ("    naive: {keep", "    '': {keep", "comparison: '' can't be an entry's name"),
        ("    naive: {keep", "    first: {keep", "comparison: 'first' can't be an entry's name"),
        (
            "previous: 2021/naive",
            "previous: nope/lm",
            "reference of '2022' must start from 2021/lm or 2021/naive, not 'nope",
        ),
        ("previous: 2020/lm", "previous: 2020/naive", "reference of '2021' must start from 2020/lm, not '2020/naive'"),
        ("  heads: 4", "  heads: 5", "pretrain: width 192 can't be shared by 5 heads"),
        ("  positions: 256", "  positions: 1", "pretrain.positions"),
        ("languages: [en, ko]", "languages: []", "dataset.languages"),
        ("languages: [en, ko]", "languages: ['']", "dataset.languages.0: a name is empty"),
        ("languages: [en, ko]", "languages: [en, EN]", "dataset.languages: en stands there twice"),
        ('"2021": {previous: "2020"}', '2021.bak: {previous: "2020"}', "'2021.bak' can't be a slice's name"),
    ],
)
def test_a_mistake_in_params_is_named(edited, old, new, expected):
    with pytest.raises(BadInput, match=expected):
        load_params(edited(old, new))


@pytest.mark.parametrize("written", ["Small", " small ", "SMALL"])
def test_the_model_that_is_built_here_is_meant_however_it_is_written(edited, written):
    assert load_params(edited("  model: small ", f"  model: '{written}' ")).encoder.model == "small"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "Run the command in the project's folder"),
        (b"", "is empty: keys and their values"),
        (b"- a list\n", "params.yaml"),
        (TEXT.encode("utf-16"), "is UTF-16. Save the file as UTF-8"),
        (b"seed: \xe9", "line 1: byte 7 is no UTF-8"),
    ],
)
def test_a_file_that_holds_no_params_is_told(tmp_path, content, expected):
    if content is not None:
        (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(BadInput, match=expected):
        load_params(tmp_path / "params.yaml")


def test_a_huge_params_file_is_refused(tmp_path):
    (tmp_path / "params.yaml").write_text("#" * 300_000)
    with pytest.raises(BadInput, match="larger than"):
        load_params(tmp_path / "params.yaml")


def stages():
    found = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return [stage.get("do", stage) for stage in found.values()]


def named(stage):
    """The paths in a stage's command, by option."""
    words = stage["cmd"].split()[4:]
    return dict(zip(words[::2], words[1::2], strict=True))


def test_dvc_tracks_exactly_the_parameters_that_decide_what_a_step_writes():
    for stage in stages():
        step = stage["cmd"].split()[3]
        if step == "settings":
            assert stage["params"] == [{"params.yaml": None}]
            continue
        tracked = stage.get("params", [{"data/settings.json": []}])
        assert [set(keys) for each in tracked for keys in each.values()] == [sections_of(step)], step
        assert named(stage).get("--settings", "data/settings.json") == next(iter(tracked[0]))
        assert ("--settings" in named(stage)) == bool(sections_of(step))


def test_threads_are_a_parameter_of_each_step_that_computes_with_torch():
    for step in STEPS:
        imports = {name for path in code_of(f"tasks.{step}") for name in imported(path)}
        computes = bool({"torch", "sentence_transformers", "transformers"} & imports)
        assert ("threads" in sections_of(step)) == computes, step


def test_precision_is_a_parameter_of_each_step_with_a_language_model():
    for step in STEPS:
        languages = "tasks.lm.logits" in {name for path in code_of(f"tasks.{step}") for name in imported(path)}
        assert ("precision" in sections_of(step)) == languages, step


def test_every_step_is_a_stage_and_its_paths_are_deps_and_outs():
    assert {stage["cmd"].split()[3] for stage in stages()} == set(STEPS)
    for stage in stages():
        paths = named(stage)
        cost = paths.pop("--cost", "reports/cost/")
        read = {path for each in stage.get("params", []) for path in each}
        assert set(stage["outs"]) <= set(paths.values())
        assert set(paths.values()) - set(stage["outs"]) <= {*stage["deps"], *read}
        assert cost.startswith("reports/cost/")


def test_what_a_step_cost_is_no_part_of_any_stage():
    """It differs on every machine, and dvc.lock must not."""
    assert not [path for stage in stages() for path in (*stage["deps"], *stage["outs"]) if "reports/cost" in path]


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
    ("argv", "expected"),
    [
        (["--help"], "python -m tasks STEP --name path"),
        (["naive", "-h"], "python -m tasks naive --examples PATH --previous PATH --out PATH\n"),
    ],
)
def test_a_step_says_how_it_is_called(argv, expected, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tasks", *argv])
    assert main() == 0
    assert capsys.readouterr().out.startswith(expected)


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ("{name: lora}, {name: ewc, strength: 1.0}", "ewc needs the model's own weights trained, which lora freezes"),
        ("{name: lora}, {name: frozen_bottom}", "lora and frozen_bottom both choose what is trained"),
        ("{name: replay, share: 0.4}, {name: replay, share: 0.2}", "named twice"),
        ("{name: distillation}", "methods: distillation works on replayed rows, and no method here replays any"),
        ("{name: reptile}, {name: distillation}", "distillation works on replayed rows"),
        ("{name: cls_er}", "cls_er works on replayed rows"),
        ("{name: ema}, {name: ewc, strength: 1.0}", "ewc must measure the weights that ema makes: put it before ema"),
    ],
)
def test_methods_that_make_no_sense_together_are_refused(edited, methods, expected):
    with pytest.raises(BadInput, match=expected):
        load_params(edited("  - {name: replay, share: 0.75}", f"  - {methods}".replace("}, {", "}\n  - {")))


REHEARSAL = {
    "replay": "share: 0.4", "forgotten": "", "mix_review": "", "reptile": "", "joint": "", "der": "",
}  # fmt: skip


@pytest.mark.parametrize("name", REHEARSAL)
def test_a_method_that_repeats_older_rows_is_refused_where_none_are_kept(edited, name):
    method = f"{{name: {name}, {REHEARSAL[name]}}}".replace(", }", "}")
    path = edited("  - {name: replay, share: 0.75}", f"  - {method}")
    load_params(path)
    for keep, is_refused in (("capped", False), ("none", True)):
        path.write_text(path.read_text().replace("  rows: all               #", f"  rows: {keep} #", 1))
        path.write_text(path.read_text().replace("  rows: capped #", f"  rows: {keep} #", 1))
        if is_refused:
            with pytest.raises(BadInput, match=rf"params\.yaml: methods: {name} repeats rows .* keep\.rows is none"):
                load_params(path)
        else:
            load_params(path)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{keep: {rows: none}, methods: [{name: replay, share: 0.5}]}", "comparison.entries.ours: replay repeats"),
        ("{keep: {rows: none}, methods: [{name: der}]}", "comparison.entries.ours: der repeats"),
        (
            "{keep: {rows: none}, methods: [{name: distillation}]}",
            "comparison.entries.ours.methods: distillation works",
        ),
        ("{keep: {rows: none}, methods: [{name: generative}, {name: distillation}]}", None),
        ("{keep: {rows: none}, methods: [{name: distillation, rows: fresh}]}", None),
        ("{keep: {rows: capped}, methods: [{name: der}]}", None),
        (
            "{keep: {rows: capped}, methods: [{name: joint}], joint: true}",
            "comparison.entries.ours: it retrains the base",
        ),
    ],
)
def test_an_entry_of_the_comparison_with_nothing_to_rehearse_is_refused(edited, entry, expected):
    path = edited("  entries:\n", f"  entries:\n    ours: {entry}\n")
    if expected:
        with pytest.raises(BadInput, match=expected):
            load_params(path)
    else:
        assert "ours" in load_params(path).comparison.entries


@pytest.mark.parametrize(
    ("setting", "method", "expected"),
    [
        ("accumulate: 4", "cls_er", "methods: cls_er weighs a batch's rows together, and .* takes a batch in 4 parts"),
        ("accumulate: 2", "der", "set it to 1 and lower stage1.batch_tokens, or leave der out"),
        ("activation_checkpointing: true", "prefix_tuning", "under prefix_tuning blocks can't be computed again"),
    ],
)
def test_methods_whose_batches_can_not_be_taken_so_are_refused(edited, setting, method, expected):
    name, _, value = setting.partition(": ")
    was = str(getattr(load_params(ROOT / "params.yaml").stage1, name)).lower()
    path = edited(f"  {name}: {was} ", f"  {name}: {value} ")
    load_params(path)  # the comparison's entries are looked at when they are trained
    replay = "  - {name: replay, share: 0.75}\n"
    path.write_text(path.read_text().replace(replay, f"{replay}  - {{name: {method}}}\n"))
    with pytest.raises(BadInput, match=expected):
        load_params(path)


def test_the_oldest_slice_of_the_comparison_has_nothing_to_rehearse(edited):
    with pytest.raises(BadInput, match="comparison.first: replay repeats rows of older slices"):
        load_params(edited("first: [{name: generative, lm_share: 0.3}]", "first: [{name: replay, share: 0.5}]"))


def test_an_entry_may_change_a_single_setting_of_stage_2(edited):
    path = edited("  entries:\n", "  entries:\n    ours: {methods: [], stage2: {epochs: 0}}\n")
    params = load_params(path)
    assert params.comparison.entries["ours"].stage2 == params.stage2.model_copy(update={"epochs": 0})
    assert params.comparison.entries["naive"].stage2 == params.stage2
    path.write_text(path.read_text().replace("stage2: {epochs: 0}", "stage2: {epoks: 0}"))
    with pytest.raises(BadInput, match="comparison.entries.ours.stage2.epoks"):
        load_params(path)


def test_a_solved_memory_must_look_at_something(edited):
    path = edited("    layers: 2  ", "    layers: 0  ")
    assert load_params(path).stage2.solved.layers == 0
    path.write_text(path.read_text().replace("    grams: 2048 ", "    grams: 0 "))
    with pytest.raises(BadInput, match="stage2.solved.*with layers 0 and grams 0 nothing of a question is looked at"):
        load_params(path)


def test_an_entry_keeps_all_and_refits_unless_it_says_otherwise_whatever_the_pipeline_does():
    params = load_params(ROOT / "params.yaml")
    assert (params.keep.rows, params.methods, params.stage2.how) == ("none", (), "solved")
    assert params.comparison.entries["replay"].keep == Keep(rows="all")
    assert params.comparison.entries["naive"].stage2 == params.stage2.model_copy(update={"how": "refit"})
    assert params.comparison.entries["solved"].stage2 == params.stage2


def test_every_method_has_settings_and_all_settings_have_a_method():
    from tasks.lm.methods import METHODS

    assert list(METHODS) == list(SETTINGS)
    for name, method in METHODS.items():
        assert SETTINGS[name].__module__ in ("tasks.method_params", "tasks.adapter_params")
        settings = inspect.signature(method).parameters["settings"].annotation
        assert settings is SETTINGS[name]
        assert settings.family in get_args(Family)


def test_every_method_is_in_the_comparison():
    from tasks.lm.methods import METHODS

    compared = load_params(ROOT / "params.yaml").comparison.entries.values()
    assert set(METHODS) == {method.name for entry in compared for method in entry.methods}
