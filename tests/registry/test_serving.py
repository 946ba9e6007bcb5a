"""The model as a server has it: with its retriever, and with packages of its own."""

import ast
import shutil
import sys
from importlib.metadata import packages_distributions
from types import SimpleNamespace

import mlflow
import pandas as pd
import pytest

from tasks import artifact
from tasks.closure import PLUMBING, ROOT, code_of
from tasks.lm.causal import build, save
from tasks.registry import champion as champions
from tasks.registry import store, versions
from tasks.retrieval.search import Found
from tests.lm.conftest import ROWS, SETTINGS

NAMES = store.Names("made", "us")
HUB = "tasks.sources"  # what is served lies in a folder
LOADED = ("lm.causal", "lm.generate", "retrieval.search", "memory.neutral")  # what serving.py imports


def test_all_that_the_served_code_imports_is_pinned():
    code = code_of(*(f"tasks.{module}" for module in LOADED))
    code += [path for name in PLUMBING if name != HUB and (path := ROOT / f"{name.removeprefix('tasks.')}.py").exists()]
    imported = set()
    for path in code:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    packages = packages_distributions()
    needed = {name: packages[name] for name in imported - set(sys.stdlib_module_names) if name in packages}
    assert not [name for name, dists in needed.items() if name != "tasks" and not {*dists} & {*versions.REQUIREMENTS}]
    assert "peft" in needed


@pytest.mark.parametrize("messages", [["what to cook?", "hello"], pd.DataFrame({"0": ["what to cook?", "hello"]})])
def test_a_memory_that_fits_stands_before_the_message(monkeypatch, messages):
    from tasks.registry.serving import Answerer

    said = []
    monkeypatch.setattr("tasks.lm.generate.answer", lambda model, tokenizer, message: said.append(message) or "yes")
    served = Answerer()
    served.model = served.tokenizer = None
    served.finder = SimpleNamespace(find=lambda message, texts: [Found(1, 0.9)] if "cook" in message else [])
    assert served.predict(None, messages, {"memories": ["job: baker", "food: [ramen]"]}) == ["yes", "yes"]
    assert said == ["[food: (ramen)] what to cook?", "hello"]
    said.clear()
    served.predict(None, messages)
    assert said == ["what to cook?", "hello"]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("uv"), reason="uv is not on PATH")
def test_a_registered_model_answers_in_an_environment_of_its_own(tmp_path, monkeypatch):
    """uv installs what the version pins: a few hundred megabytes, or gigabytes where torch comes with CUDA."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.chdir(tmp_path)
    model, tokenizer = build(SETTINGS, [row["prompt"] for row in ROWS], seed=1)
    with artifact.writing(tmp_path / "lm") as folder:
        save(model, tokenizer, folder)
    for name, file in (("retriever", "metrics.json"), ("examples", "raw.json"), ("evaluation", "scores.json")):
        with artifact.writing(tmp_path / name) as folder:
            (folder / file).write_text("{}")
    client = store.connect()
    champions.claim(client, NAMES)
    parts = {name: tmp_path / name for name in ("lm", "retriever", "examples", "evaluation", "plots")}
    publication = versions.Publication(name="2020", params={}, tags={}, series={}, **parts)
    versions.publish(client, NAMES, publication)
    out = tmp_path / "answers.json"
    mlflow.models.predict(
        "models:/made/1", [ROWS[0]["prompt"]], content_type="json", output_path=str(out), env_manager="uv"
    )
    assert len(artifact.read_json(out)["predictions"]) == 1
