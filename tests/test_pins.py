"""Versions that look harmless to raise, and are not."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PINS = dict(
    re.fullmatch(r"([\w.-]+)==(\S+)", line).groups()
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
)


def test_fastapi_is_one_that_prefect_runs_with():
    assert Version(version("fastapi")) < Version("0.151"), "Prefect 3.8.8 dies at its first flow call with a newer one"


def test_sqlalchemy_is_one_that_prefects_scheduler_works_with():
    assert Version(version("sqlalchemy")) < Version("2.1"), "with 2.1, Prefect silently creates no scheduled runs"


def test_dvc_is_the_one_that_the_bridge_was_written_for():
    assert version("dvc").startswith("3.67."), "flows/graph.py uses more than DVC's stable API: read it again first"


def test_torch_is_one_that_brings_no_gigabytes_of_cuda():
    assert Version(version("torch")) < Version("2.14")


def test_the_tested_versions_are_exact_and_within_what_the_package_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in map(Requirement, sum(groups, [])):
        assert PINS[canonical(requirement.name)] in requirement.specifier, str(requirement)


def canonical(name):
    return next(pinned for pinned in PINS if pinned.lower().replace("_", "-") == name.lower())
