"""The code that runs is the code that is recorded, or nothing runs."""

import os
import shutil
import subprocess
import sys

import pytest

from flows import commands
from flows.timeline import timeline
from tasks.closure import ROOT, refuse_other_code
from tasks.errors import BadInput
from tests.flows.conftest import run

ELSEWHERE = os.environ | {"PYTHONSAFEPATH": "1"}  # the folder of the command is not looked into, as with `perennial`


@pytest.mark.parametrize(
    "command",
    ["tasks origin --relations data/raw/relations.yaml --out data/examples/base", "flows.commands run",
     "flows.commands status", "flows.commands methods", "flows.commands report"],
)  # fmt: skip
def test_another_checkouts_code_is_refused_at_the_start(project, command):
    done = subprocess.run([sys.executable, "-m", *command.split()], cwd=project, env=ELSEWHERE, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"The code that runs is {ROOT}, and this project's own is {project / 'tasks'}: use")
    assert not (project / "data/examples").exists() and not (project / "dvc.lock").exists()


def test_a_worker_with_another_checkouts_code_is_refused(project, monkeypatch):
    monkeypatch.setattr("tasks.closure.ROOT", ROOT)
    with pytest.raises(BadInput, match="The code that runs is"):
        timeline.fn(str(project))


def test_a_project_without_code_of_its_own_has_the_installed_packages(project):
    shutil.rmtree(project / "tasks")
    text = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(text.replace(", tasks/origin.py", "").replace(", tasks/dataset.py", ""))
    assert commands.enter(verbose=False) == project
    assert set(run(project).values()) == {"ran"}


def test_the_projects_own_code_is_taken_by_whatever_path(tmp_path):
    refuse_other_code(ROOT.parent)
    (tmp_path / "tasks").symlink_to(ROOT)
    refuse_other_code(tmp_path)
