"""The comparison's figures against hand-computed ones; its table and page."""

import io
import statistics

import pytest
from rich.console import Console

from tasks import artifact
from tasks.params import Entry, load_params
from tasks.reporting.methods_page import render_methods
from tasks.reporting.methods_plots import draw_methods
from tasks.reporting.methods_table import in_order, print_table
from tasks.scoring.comparison import family_of, gather_comparison, metrics_of, pareto_front
from tests.scoring.made import made_scores, with_stages, write_scores

SLICES = ("one", "two", "three")
REFIT = load_params().stage2.model_copy(update={"how": "refit"})


def scores(place, accuracy, **categories):
    name, seen = SLICES[place], SLICES[: place + 1]
    return {
        "slice": name,
        "model": {
            "accuracy": dict(zip(seen, accuracy, strict=True)),
            "perplexity": dict(zip(seen, (2.0, 4.0, 9.0), strict=False)),
        },
        "valid": {"accuracy": 0.1 + 0.1 * place, "paraphrase_accuracy": 0.05, "everyday_accuracy": 0.04},
        "categories": dict.fromkeys(("new", "updated", "retained", "stale")) | categories,
        "previous": {"accuracy": {name: 0.3}},
        "base": {"accuracy": {name: 0.1 * place}},
    }


def cost(seconds, flops, memory, stored):
    stages = {"stage1": (seconds, flops, memory), "stage2": (1.0, 5e11, 90.0), "evaluate": (99.0, 9e15, 9999.0)}
    names = ("seconds", "flops", "peak_memory_mb")
    return {stage: dict(zip(names, values, strict=True)) for stage, values in stages.items()} | {"stored_bytes": stored}


def test_each_metric_is_what_the_scores_and_costs_say():
    found = metrics_of(
        [
            scores(0, [1.0], new=0.5),
            scores(1, [0.6, 0.8], new=0.9, updated=0.4, retained=0.6, stale=0.2),
            scores(2, [0.4, 0.6, 0.9], new=0.7, updated=None, retained=0.5, stale=0.0),
        ],
        [cost(50, 7e12, 500, 1), cost(3, 1e12, 100, 2), cost(5, 2e12, 80, 3)],
    )
    expected = {
        "accuracy": 0.3, "paraphrase_accuracy": 0.05, "everyday_accuracy": 0.04,
        "new": (0.9 + 0.7) / 2, "updated": 0.4, "retained": 0.5,
        "stale": 0.1, "average_accuracy": (0.4 + 0.6 + 0.9) / 3,
        "average_incremental_accuracy": (1.0 + 0.7 + (0.4 + 0.6 + 0.9) / 3) / 3,
        "forgetting": ((1.0 - 0.4) + (0.8 - 0.6)) / 2, "backward_transfer": ((0.4 - 1.0) + (0.6 - 0.8)) / 2,
        "forward_transfer": ((0.3 - 0.1) + (0.3 - 0.2)) / 2, "perplexity": 5.0,
        "seconds": ((3 + 1) + (5 + 1)) / 2, "tflops": 1 + 0.5 + 2 + 0.5, "peak_memory_mb": 100.0, "stored_bytes": 3.0,
    }  # fmt: skip
    assert found == {name: pytest.approx(value) for name, value in expected.items()}


def write_run(folder, keep, seconds=2.0, flops=1e12):
    """The folders of one entry and seed, each later slice leaving the share `keep` of what was known."""
    slices = ("2020", "2021", "2022")
    for place, name in enumerate(slices):
        write_scores(folder / name / "scores", with_stages(made_scores(place, slices, keep)) | {"retriever": None})
        artifact.write_file(folder / name / "cost.json", artifact.json_text(cost(seconds, flops, 700, 40)).encode())
    return [folder / name for name in slices]


@pytest.fixture
def params():
    loaded = load_params()
    one = {"methods": [{"name": "replay", "share": 0.4}]}
    entries = {
        "naive": {}, "joint": {"joint": True, "methods": [{"name": "joint"}]}, "replay": one,
        "both": {"methods": [*one["methods"], {"name": "ewc", "strength": 1.0}], "keep": {"rows": "capped"}},
        "broken": {"methods": [{"name": "ewc", "strength": 1.0}]},
    }  # fmt: skip
    entries = {name: Entry.model_validate({"stage2": REFIT, **entry}) for name, entry in entries.items()}
    return loaded.model_copy(
        update={
            "timeline": dict.fromkeys(("2020", "2021", "2022"), loaded.timeline["2020"]),
            "comparison": loaded.comparison.model_copy(update={"entries": entries, "default": "both"}),
        }
    )


@pytest.fixture
def told(params, tmp_path):
    runs = {
        ("joint", 1): (0.99, 8e12), ("joint", 2): (0.98, 8e12), ("naive", 1): (0.2, 1e12), ("naive", 2): (0.3, 1e12),
        ("replay", 1): (0.9, 1e12), ("replay", 2): (0.92, 1e12), ("both", 1): (0.95, 2e12),
    }  # fmt: skip
    finished = {
        (name, seed): write_run(tmp_path / str(seed) / name, keep, flops=flops)
        for (name, seed), (keep, flops) in runs.items()
    }
    return gather_comparison(params, finished, {("broken", 1): "The loss is not finite <at> step 12."})


def test_mean_and_spread_are_over_the_seeds_and_shares_are_of_the_same_seeds_bound(told):
    replay, joint = told["entries"]["replay"], told["entries"]["joint"]
    own = [replay["seeds"][seed]["metrics"]["accuracy"] for seed in ("1", "2")]
    bound = [joint["seeds"][seed]["metrics"]["accuracy"] for seed in ("1", "2")]
    assert own[0] != own[1]
    assert replay["mean"]["accuracy"] == pytest.approx(sum(own) / 2)
    assert replay["spread"]["accuracy"] == pytest.approx(abs(own[0] - own[1]) / 2**0.5)
    assert replay["mean"]["of_joint_accuracy"] == pytest.approx(
        statistics.fmean([own[0] / bound[0], own[1] / bound[1]])
    )
    assert replay["mean"]["of_joint_tflops"] == pytest.approx((1e12 + 5e11) / (8e12 + 5e11))
    assert told["entries"]["both"]["spread"]["accuracy"] is None  # one seed has none
    assert told["entries"]["broken"]["mean"] == {}
    families = {name: each["family"] for name, each in told["entries"].items()}
    assert families == {
        "naive": "baselines", "joint": "baselines", "replay": "rehearsal", "both": "regularisation",
        "broken": "regularisation",
    }  # fmt: skip


def test_what_is_solved_is_a_family_of_its_own():
    assert family_of(Entry(stage2=REFIT.model_copy(update={"how": "solved"}))) == "solved memory"
    assert family_of(Entry(stage2=REFIT)) == "baselines"


def test_the_front_holds_what_nothing_beats_in_cost_and_in_keeping():
    def entry(tflops, retained):
        return {"mean": {"tflops": tflops, "retained": retained}, "seeds": {"1": {}}}

    entries = {
        "bound": entry(9.0, 0.99), "cheap": entry(1.0, 0.3), "dear": entry(4.0, 0.9), "worse": entry(5.0, 0.8),
        "same_cost": entry(1.0, 0.2), "middle": entry(2.0, 0.7), "failed": {"mean": {}, "seeds": {}},
    }  # fmt: skip
    entries["failed"]["mean"] = {"tflops": None, "retained": None}
    assert pareto_front(entries, "bound") == ["cheap", "middle", "dear"]


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_says_what_failed(told, width):
    console = Console(width=width, record=True, file=io.StringIO())
    print_table(console, told)
    text = console.export_text()
    assert all(len(line) <= width for line in text.splitlines())
    assert told["joint"] == 1.5
    if width == 120:  # 26 % of what? a share of the bound's cost is told with the bound's steps
        assert "of the bound's, which trains 1.5 x 200 steps for every slice so far" in " ".join(text.split())
    assert "…" not in text
    lines = [line.split()[0] for line in text.splitlines()[4:9]]
    assert lines == ["joint", "both", "replay", "naive", "broken"] == in_order(told)
    for part in ("joint (bound)", "naive (newest only)", "both (default, 1 seed)", "broken, seed 1, failed: The loss"):
        assert part in text
    assert ("±" in text) == (width == 120)


def test_the_page_has_every_entry_fetches_nothing_and_has_the_same_bytes_again(told, tmp_path):
    for folder in (tmp_path / "plots", tmp_path / "again"):
        folder.mkdir()
        draw_methods(told, folder)
    page = render_methods(told, tmp_path / "plots")
    assert page.count("data:image/png;base64,") == 2
    assert "which trains 1.5 x 200 steps for every slice so far" in page
    assert "http" not in page.split("<body>")[1]
    assert "The loss is not finite &lt;at&gt; step 12." in page
    assert '<tr class="reference"><td>1</td><td>joint (bound)</td>' in page
    assert page == render_methods(told, tmp_path / "again")


def test_without_a_finished_entry_there_is_a_report_of_what_failed(params, tmp_path):
    told = gather_comparison(params, {}, {("replay", 1): "no"})
    draw_methods(told, tmp_path)
    assert not list(tmp_path.iterdir())
    assert "replay, seed 1, failed: no" in render_methods(told, tmp_path)
