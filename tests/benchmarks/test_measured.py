"""What several comparisons measured, in one table: a newer row takes an older one's place, and nothing else is lost."""

import json

import pytest

from benchmarks.measured import COLUMNS, collect, measured, table
from tasks.errors import BadInput


@pytest.fixture
def project(tmp_path):
    def told(**entries):
        folder = tmp_path / f"project {len(list(tmp_path.iterdir()))}"
        (folder / "reports").mkdir(parents=True)
        metrics = dict.fromkeys(COLUMNS[3:])
        seeds = {
            name: {"seeds": {str(seed): {"metrics": metrics | values} for seed, values in each.items()}}
            for name, each in entries.items()
        }
        (folder / "reports/methods.json").write_text(json.dumps({"entries": seeds}))
        return folder

    return told


def test_pieces_of_a_comparison_make_one_table(project, tmp_path, capsys):
    kept = tmp_path / "kept"
    one = project(naive={20: {"accuracy": 0.2, "tflops": 3.5}}, joint={20: {"accuracy": 0.9}})
    two = project(naive={20: {"accuracy": 0.25}, 21: {"accuracy": 0.35, "stored_bytes": 2000}})
    for folder in (one, two):
        collect(folder, "years", kept)
    rows = measured("years", kept)
    assert rows[["entry", "seed", "accuracy"]].values.tolist() == [
        ["joint", 20, 0.9], ["naive", 20, 0.25], ["naive", 21, 0.35],
    ]  # fmt: skip
    capsys.readouterr()
    table("years", kept)
    head, line, *shown = capsys.readouterr().out.splitlines()
    assert head.count("|") == line.count("|") == shown[0].count("|") == 13
    assert [row.split(" | ")[:3] for row in shown] == [["| joint", "1", "90.0"], ["| naive", "2", "30.0 ± 7.1"]]
    assert shown[1].endswith("| - | - | 2 |")


def test_where_nothing_was_measured_a_sentence_says_what_to_do(project, tmp_path):
    with pytest.raises(BadInput, match=r"reports/methods.json is missing. Run `perennial methods` in .*nowhere"):
        collect(tmp_path / "nowhere", "years", tmp_path)
    with pytest.raises(BadInput, match=r"years.csv is missing or empty. Collect a comparison first"):
        table("years", tmp_path)
