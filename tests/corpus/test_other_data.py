"""Other people's data goes in by `perennial add`, after nothing but a conversion of columns."""

import csv
import json
from pathlib import Path

import pytest

from flows.add import add_slice
from tasks.corpus.check import check_slice
from tasks.corpus.slices import history, valid_facts
from tasks.dataset import dataset
from tasks.origin import origin
from tasks.params import Dataset, load_params
from tests.end_to_end.project import ROOT, make_project

DATA = ROOT.parent / "shared" / "data"
SETTINGS = Dataset(languages=("en", "ko"), chat_repeats=2)
pytestmark = pytest.mark.skipif(
    not DATA.exists(), reason="../shared/data is missing: the data sets stand beside the project"
)


def rows_of(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def write_facts(folder: Path, rows: list[dict[str, str]]) -> Path:
    folder.mkdir(parents=True)
    with (folder / "facts.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["subject", "relation", "object"])
        writer.writerows([row["subject"], row["relation"], row["object"]] for row in rows)
    return folder


def write_examples(folder: Path, rows: list[dict[str, str]]) -> Path:
    folder.mkdir(parents=True)
    lines = (json.dumps({key: row[key] for key in ("input", "target", "split")}) + "\n" for row in rows)
    (folder / "examples.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def by_slice(rows: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        found.setdefault(str(row["slice"]), []).append(row)
    return found


def chained(tmp_path, folders: dict[str, Path]):
    """Check and build every slice after the one before; the last one's history."""
    origin(ROOT / "data/raw/relations.yaml", tmp_path / "examples/base")
    before = tmp_path / "examples/base"
    for name, folder in folders.items():
        assert check_slice(folder, history(before)) == []
        dataset(SETTINGS, folder, before, tmp_path / "examples" / name)
        before = tmp_path / "examples" / name
    return history(before)


def test_yago_facts(tmp_path):
    slices = by_slice(rows_of("yago_facts/facts.jsonl"))
    made = chained(tmp_path, {name: write_facts(tmp_path / name, rows) for name, rows in slices.items()})
    assert len(made) == 4
    assert any(fact["category"] == "updated" for fact in made[-1].facts)
    told = {(row["subject"], row["relation"]): row["object"] for rows in slices.values() for row in rows}
    valid = {(fact["subject"], fact["relation"]): fact["object"] for fact in valid_facts(made).values()}
    assert valid == told  # what was said last is what is true


@pytest.mark.parametrize(("name", "count"), [("fewrel/relations.jsonl", 8), ("clinc150/intents.jsonl", 15)])
def test_labelled_examples(tmp_path, name, count):
    slices = by_slice(rows_of(name))
    made = chained(tmp_path, {key: write_examples(tmp_path / key, rows) for key, rows in slices.items()})
    assert len(made) == count
    assert sum(len(each.train) for each in made) == sum(row["split"] == "train" for row in rows_of(name))


def test_two_more_years_of_the_factbook_follow_the_default_timeline(tmp_path):
    slices = by_slice(rows_of("factbook_facts/facts.jsonl"))
    default = {name: ROOT / "data/raw" / name for name in load_params(ROOT / "params.yaml").timeline}
    later = {year: write_facts(tmp_path / year, slices[year]) for year in ("2025", "2026")}
    made = chained(tmp_path, default | later)
    assert made[-1].name == "2026"
    assert made[-1].facts


def test_perennial_add_appends_them_to_a_timeline(tmp_path):
    root = make_project(tmp_path / "project")
    facts = by_slice(rows_of("yago_facts/facts.jsonl"))["y1"]
    examples = by_slice(rows_of("fewrel/relations.jsonl"))["task1"]
    add_slice(root, "y1", write_facts(tmp_path / "y1", facts))
    add_slice(root, "task1", write_examples(tmp_path / "task1", examples))
    assert list(load_params(root / "params.yaml").timeline) == ["2020", "2021", "y1", "task1"]
    assert (root / "data/raw/task1/examples.jsonl").exists()
