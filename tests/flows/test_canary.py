"""The canary is a dependency like any other; a project may have none."""

import pytest

from tasks.errors import BadInput
from tests.flows.conftest import dvc, one_stage, state

GRAPH = """
stages:
  evaluate:
    cmd: python -m tasks evaluate
    deps: [data/canary]
    outs: [out]
"""


@pytest.fixture
def root(project):
    return one_stage(project, GRAPH)


def test_a_project_without_a_canary_gets_an_empty_folder_and_a_canary_makes_the_evaluation_stale(root):
    state(root)
    dvc(root, "commit", "--force")
    assert state(root) == "fresh"
    assert "up to date" in dvc(root, "status")
    (root / "data/canary/chat.jsonl").write_text('{"input": "hello"}\n')
    assert state(root) == "stale"


def test_a_file_in_the_folders_place_is_named(root):
    (root / "data/canary").write_text("")
    with pytest.raises(BadInput, match=r"^data/canary must be a folder, and can't be made \(File exists\)"):
        state(root)
