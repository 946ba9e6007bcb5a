"""Two slices through DVC and MLflow, for real: what a user does, in a small project."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.artifact import file_sum, manifest_sum
from tasks.lm.solved.shards import sums_of
from tasks.lm.solved.sums import places_in
from tasks.steps import missing_shards, run_step
from tests import warm
from tests.end_to_end.project import make_project, set_params, write_slice

COMMAND = [sys.executable, "-c", "from flows.commands import main; main()"]
NO_PREFECT = {"PREFECT_API_URL": "http://127.0.0.1:9/api"}  # whose server takes seconds to start


def perennial(root: Path, *words: str, code: int = 0, told: str = "", cold: bool = False, **variables: str) -> str:
    """What a command printed; `cold`: it imports its libraries itself, as with a user."""
    environment = os.environ | {
        "PYTHONPATH": str(root),
        "MLFLOW_TRACKING_URI": "",
        "PREFECT_HOME": str(root / ".prefect"),
        **dict.fromkeys(("HTTP_PROXY", "https_proxy", "ALL_PROXY"), "http://127.0.0.1:9"),  # for what lies outside
        **variables,
    }
    if cold:
        done = subprocess.run(
            [*COMMAND, *words], cwd=root, env=environment, input=told, capture_output=True, text=True, check=False
        )
    else:
        done = warm.run(root, warm.PERENNIAL, words, environment, told)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def dvc(root: Path, *words: str) -> str:
    done = warm.run(root, "dvc", words, os.environ | {"PYTHONPATH": str(root)})
    assert done.returncode == 0, done.stdout
    return done.stdout


def model_sums(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): file_sum(path) for path in sorted((root / "models").rglob("*.safetensors"))}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = make_project(tmp_path_factory.mktemp("e2e") / "project")
    output = perennial(root, "run", cold=True)
    return root, output


def test_a_run_ends_with_the_table_the_page_and_the_models(project):
    root, output = project
    assert "Traceback" not in output
    assert not (root / ".prefect/prefect.db").exists()  # no server was named, and none was started
    for part in ("2020", "2021", "retained", "naive", "reports/index.html"):
        assert part in output
    told = json.loads((root / "reports/timeline.json").read_text())
    assert told["slices"] == ["2020", "2021"]
    assert told["naive"] is not None
    steps = {path.stem for path in (root / "reports/cost/2021").iterdir()}
    assert steps == {"dataset", "pairs", "retriever", "stage1", "stage2", "evaluate", "naive"}
    assert "minutes in all" in (root / "reports/cost.html").read_text()
    models = [name for name in model_sums(root) if name.endswith("/model.safetensors")]
    assert len(models) == 9  # base: lm, encoder; stage1, lm, retriever of each slice; naive


def test_afterwards_dvc_has_nothing_to_do(project):
    root, _ = project
    assert "up to date" in dvc(root, "status")
    assert "Running stage" not in dvc(root, "repro")


def test_a_second_run_runs_nothing(project):
    root, _ = project
    assert "were up to date" in perennial(root, "run")
    assert "stale" not in perennial(root, "status").replace("stale:", "")


@pytest.fixture
def clone(project, tmp_path):
    """The project elsewhere, as git brings it: nothing built, nothing in DVC's cache, no registry."""
    other = tmp_path / "clone"
    built = ("models", "examples", "pairs", "reports", "cache", "tmp", "mlruns", "mlflow.db", ".perennial")
    shutil.copytree(project[0], other, ignore=shutil.ignore_patterns(*built))
    (other / "dvc.lock").unlink()
    return other


def test_dvc_repro_elsewhere_gives_the_same_model_of_a_slice(project, clone):
    """A process per step, each of which imports torch: so the first model here, and every one in `make prove`."""
    dvc(clone, "repro", "stage2@2020")
    found, expected = model_sums(clone), model_sums(project[0])
    assert {"models/base/lm/model.safetensors", "models/2020/stage1/model.safetensors",
            "models/2020/lm/model.safetensors"} <= found.keys()  # fmt: skip
    assert found.items() <= expected.items()


@pytest.mark.slow
def test_dvc_repro_elsewhere_gives_the_same_models(project, clone):
    dvc(clone, "repro")
    assert model_sums(clone) == model_sums(project[0])
    assert "were up to date" in perennial(clone, "run")  # and the flow has nothing to do after dvc


def test_processes_that_share_the_sums_of_a_slice_leave_the_model_of_one(project, clone, monkeypatch):
    words = ["stage2", "--examples", "data/examples/2020", "--stage1", "models/2020/stage1", "--out"]
    for folder in ("data/examples/base", *words[2:5:2]):
        shutil.copytree(project[0] / folder, clone / folder)
    monkeypatch.chdir(clone)
    summed = 0  # a slice this small is one batch, and so one shard's
    for shards, out in ((1, "alone"), (2, "shared")):
        set_params(clone, stage2={"how": "solved", "solved": {"width": 256, "codes": 256, "shards": shards}})
        for part in missing_shards([*words, out]):
            environment = os.environ | {"PYTHONPATH": str(clone)}
            done = warm.run(clone, "tasks", [*words, out, "--shard", str(part)], environment)
            assert done.returncode == 0, done.stdout
            summed += places_in(sums_of(part, 0))
        assert missing_shards([*words, out]) == []
        run_step([*words, out], live=False)
    assert summed and manifest_sum(clone / "alone") == manifest_sum(clone / "shared")


def test_the_registry_compares_and_the_chat_answers(project):
    root, _ = project
    compared = perennial(root, "compare", "2020", "2021")
    assert "difference" in compared
    assert "accuracy.2020" in compared
    chatted = perennial(root, "chat", "--model", "2020", told="hello 2020\n/memory\n/exit\n")
    assert "Traceback" not in chatted


def test_an_added_slice_runs_its_own_steps_and_no_other(project, tmp_path):
    root, _ = project
    before = model_sums(root)
    bad = write_slice(tmp_path / "bad", "2022")
    (bad / "facts.csv").write_text("subject,relation,object\nCuba,capital,Havana\nCuba,capital,Paris\n")
    refused = perennial(root, "add", "2022", str(bad), code=2)
    assert "facts.csv, line 3" in refused
    assert not (root / "data/raw/2022").exists()
    perennial(root, "add", "2022", str(write_slice(tmp_path / "good", "2022")))
    output = perennial(root, "run", **NO_PREFECT)
    lines = [line for line in output.splitlines() if " done " in line]
    assert {line.split()[1] for line in lines if line.split()[0] != "report"} == {"2022"}
    assert before.items() <= model_sums(root).items()
    assert json.loads((root / "reports/timeline.json").read_text())["slices"] == ["2020", "2021", "2022"]
    assert "up to date" in dvc(root, "status")
