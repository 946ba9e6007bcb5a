"""Slices that bring one kind of file each, and nothing else: added, taken through the whole graph, and published."""

import json

import pytest
from rich.console import Console

from flows import walk
from flows.add import add_slice
from flows.progress import Progress
from tests.end_to_end.project import make_project

ALONE = {
    "facts.csv": "subject,relation,object\nNepal,capital,Pokhara\nCuba,capital,Havana\n",
    "memories.txt": "[favourite sport: judo] What shall I watch?\n[bike: red] Which one is mine?\n",
    "chat.jsonl": '{"input": "good night", "output": "sleep well"}\n',
    "examples.jsonl": "".join(
        json.dumps({"input": f"{word} in {split}", "target": word[0], "split": split}) + "\n"
        for word in ("ape", "bee")
        for split in ("train", "test")
    ),
    "texts.jsonl": "".join(
        json.dumps({"text": f"A note of day {day}, calm.", "date": "2023"}) + "\n" for day in range(12)
    ),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("alone") / "project", steps=5)


@pytest.mark.slow  # tests/test_slices_that_bring_less.py takes each through every step without DVC and MLflow
def test_each_kind_of_file_alone_makes_a_slice(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    for name, content in ALONE.items():
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (folder / name).write_text(content)
        add_slice(root, folder.name, folder)
    with walk.opened(root, Progress(Console(quiet=True))) as run:
        walk.walk(run)
        walk.publish(run)
    slices = json.loads((root / "reports/timeline.json").read_text())["slices"]
    assert slices == ["2020", "2021", *(name.partition(".")[0] for name in ALONE)]
    assert walk.last_run(root)["outcome"] == "completed"
