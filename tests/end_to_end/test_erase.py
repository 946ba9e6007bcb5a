"""`perennial erase` in a small project: the model is another one, the receipt tells what still has the rows."""

import json

import pytest

from tasks import artifact
from tests.end_to_end.project import make_project, set_params
from tests.end_to_end.test_timeline import perennial

SMALL = {"width": 512, "codes": 512, "grams": 128}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = make_project(tmp_path_factory.mktemp("erase") / "project")
    set_params(root, stage2={"how": "solved", "solved": SMALL})
    perennial(root, "run")
    return root


def facts(folder, *rows):
    folder.mkdir()
    (folder / "facts.csv").write_text("subject,relation,object\n" + "".join(f"{row}\n" for row in rows))
    return str(folder / "facts.csv")


def test_what_the_backbone_was_trained_on_is_refused(project, tmp_path):
    before = artifact.manifest_sum(project / "models/2021/lm")
    told = perennial(project, "erase", facts(tmp_path / "old", "Chile,capital,Santiago"), code=2)
    assert "facts.csv, line 2: 'Chile, capital, Santiago' came with 2020, and what that brought trained" in told
    assert artifact.manifest_sum(project / "models/2021/lm") == before


def test_a_fact_and_a_memory_go_and_the_receipt_says_who_still_has_them(project, tmp_path):
    before = artifact.manifest_sum(project / "models/2021/lm")
    (tmp_path / "memories.txt").write_text("[job: baker 0] Where do I work? 0 2020\n")
    rows = facts(tmp_path / "new", "Peru,capital,Cusco"), str(tmp_path / "memories.txt")
    told = perennial(project, "erase", *rows)
    assert "Erased: 1 of facts.csv, 1 of memories.txt. The model of 2021 answers as if" in told
    assert "data/raw/2021/facts.csv, data/raw/2020/memories.txt: as they were given" in told
    assert "models/2020, " in told and "versions 1, 2 of the registry" in told
    (path,) = (project / "reports/erased").iterdir()
    receipt = json.loads(path.read_text())
    assert receipt["model"] == {
        "slice": "2021", "before": before, "now": artifact.manifest_sum(project / "models/2021/lm"),
    }  # fmt: skip
    assert receipt["model"]["now"] != before and receipt["champion"] == "3"
    assert "Cusco" not in path.read_text() + (project / "data/raw/2021/erased.txt").read_text()
    assert perennial(project, "chat", told="Peru, capital?\n/exit\n").splitlines()[2] == "> Lima"
    assert "Where do I work? 0 2020" not in (project / "data/pairs/2021/lines.json").read_text()
    assert "Memory: 2021 takes " in perennial(project, "status")
    again = perennial(project, "erase", *rows)  # a kill may have come before the receipt
    assert "All 19 steps were up to date" in again and "Erased: 1 of facts.csv" in again
