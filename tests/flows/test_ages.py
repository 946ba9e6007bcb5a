"""`perennial ages`: every model over every slice's texts, once; a table and a picture."""

import json
import shutil
from io import StringIO

import pytest
from rich.console import Console

from flows import ages
from flows.ages import measure_ages
from tasks.errors import BadInput
from tests.end_to_end.project import make_project
from tests.every_step import TEXTS, Timeline, facts, lines

LATER = {"texts.jsonl": lines(*({"text": f"Rain fell on day {day}, and wind.", "date": "2021"} for day in range(12)))}
SLICES = {"2020": facts(("Peru", "Lima"), ("Chile", "Santiago")) | TEXTS, "2021": facts(("Nepal", "Kathmandu")) | LATER}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with two slices' models, of a few steps each."""
    root = make_project(tmp_path_factory.mktemp("ages") / "project")
    timeline, before = Timeline(tmp_path_factory.mktemp("slices")), "base"
    timeline.begin()
    for name, files in SLICES.items():
        timeline.bring_examples(name, files, before)
        shutil.copytree(timeline.bring_model(name, before), root / "models" / name / "lm")
        before = name
    shutil.copytree(timeline.root / "examples", root / "data/examples")
    return root


@pytest.fixture
def root(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


def said(root):
    out = StringIO()
    measure_ages(root, Console(file=out, width=100))
    return out.getvalue()


def test_every_model_is_asked_once_about_every_slices_texts(root, monkeypatch):
    told = said(root)
    found = json.loads((root / "reports/ages.json").read_text())
    assert found["slices"] == ["2020", "2021"] and found["unit"] == "months"
    assert all(value > 1 for row in found["perplexity"] for value in row)
    (only,) = found["curve"]
    assert only["ahead"] == 12 and only["ratio"] == pytest.approx(found["perplexity"][0][1] / found["perplexity"][1][1])
    assert "text of 2021" in told and "12 months ahead:" in told and (root / "reports/ages.png").stat().st_size > 5000
    monkeypatch.setattr(ages, "run_isolated", None)  # can't be called
    assert told.endswith(said(root))


def test_what_cant_age_is_a_sentence(root, monkeypatch):
    (root / "models/2021").rename(root / "models/later")
    with pytest.raises(BadInput, match="models/2021/lm is missing. `perennial run` makes it"):
        said(root)
    (root / "models/later").rename(root / "models/2021")
    monkeypatch.setattr(ages, "curve", lambda names, perplexity: [])
    with pytest.raises(BadInput, match="No slice after the first has texts or statements that are held out"):
        said(root)


def test_domains_are_refused(root):
    before = (root / "params.yaml").read_text()
    try:
        (root / "params.yaml").write_text(before.replace("kind: time", "kind: domain"))
        with pytest.raises(BadInput, match="the slices are domains"):
            said(root)
    finally:
        (root / "params.yaml").write_text(before)
