"""`perennial select`: candidates are tried once, those that can't be are told, and one is recommended on a page."""

import json

import pytest

from tests import warm
from tests.end_to_end.project import make_project
from tests.flows.test_methods import environment
from tests.lm.architectures import folder_of


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = make_project(tmp_path_factory.mktemp("select") / "project")
    folder_of("llama", folder / "tiny")
    return folder


def select(root, *words, code=0):
    done = warm.run(root, warm.PERENNIAL, ["select", *words], environment(root))
    assert done.returncode == code, done.stdout
    return done.stdout


def test_candidates_are_tried_told_and_not_tried_again(root):
    said = select(root, "tiny", "nowhere/at", "--steps", "2", "--questions", "3")
    assert "select         tiny         done" in said and "select         at           failed" in said
    assert "nowhere/at: MODEL: 'nowhere/at' is no folder" in said
    assert "None of them is recommended. None answered a question rightly." in said
    assert "More: reports/selection.html, reports/selection.json." in said
    told = json.loads((root / "reports/selection.json").read_text())
    assert [each["model"] for each in told["trials"]] == [str(root / "tiny")] and told["chosen"] is None
    page = (root / "reports/selection.html").read_text()
    assert "<h1>Which model to start from</h1>" in page and "nowhere/at" in page and "LlamaForCausalLM" in page
    again = select(root, "tiny", "--steps", "2", "--questions", "3")
    assert "done" not in again and "tiny" in again
    assert json.loads((root / "reports/selection.json").read_text())["trials"] == told["trials"]


def test_what_can_not_be_tried_is_a_sentence(root):
    assert "'small' is built from a project's own data: there is nothing to try." in select(root, "small", code=2)
    said = select(root, "/no/such/folder", code=1)
    assert "there is no folder '/no/such/folder'" in said and "None of the models could be tried." in said
