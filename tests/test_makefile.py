"""`make clean` takes away what a run builds again, and nothing else without being told twice."""

import shutil
import subprocess
from pathlib import Path

import pytest

REBUILT = ("models/2020/lm/model", "reports/index.html", "data/examples/base/rows", ".perennial/serving/1-ab/lm")
KEPT = ("data/raw/2020/facts.csv", "dvc.lock", ".perennial/memories.db", ".perennial/removed/2021/facts.csv")
NEVER_AGAIN = ("mlflow.db", "mlruns/1/run", ".dvc/cache/files", ".prefect/prefect.db")


@pytest.fixture
def folder(tmp_path):
    shutil.copy(Path(__file__).parents[1] / "Makefile", tmp_path)
    for name in (*REBUILT, *KEPT, *NEVER_AGAIN):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def make(folder, *words):
    return subprocess.run(["make", *words], cwd=folder, capture_output=True, text=True, check=False)


def left(folder):
    return {name for name in (*REBUILT, *KEPT, *NEVER_AGAIN) if (folder / name).exists()}


def test_clean_keeps_the_registry_and_dvcs_cache(folder):
    assert make(folder, "clean").returncode == 0
    assert left(folder) == {*KEPT, *NEVER_AGAIN}


def test_distclean_says_what_it_takes_and_does_it_only_if_confirmed(folder):
    refused = make(folder, "distclean")
    assert refused.returncode != 0 and "make distclean CONFIRM=yes" in refused.stderr
    assert left(folder) == {*REBUILT, *KEPT, *NEVER_AGAIN}
    assert make(folder, "distclean", "CONFIRM=yes").returncode == 0
    assert left(folder) == set(KEPT)
