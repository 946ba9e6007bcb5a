"""What a project of one's own begins with: the files of this repository, without its years and without its code.

In a checkout they lie where they are used; in an installed package setup.py has laid them beside this file.
"""

import io
import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from flows.graph import GRAPH
from flows.remove import without_slices
from tasks.closure import CODE, ROOT, sum_of
from tasks.params import PARAMS, load_params
from tasks.params_text import with_settings, without
from tasks.steps import LIBRARIES

DISTRIBUTION = "perennial-llm"
OF_CODE = f"{ROOT.name}/"
MADE = "# Written by `perennial init`, which writes it anew after an update of Perennial: edit params.yaml instead.\n"
COMPARED = ("joint", "naive", "replay", "capped", "solved")  # entries of `perennial methods` to begin with
DEPLOYED, BY_FILE, BY_MODULE = "prefect.yaml", "flows/timeline.py:timeline", "flows.timeline.timeline"
RELATIONS = "data/raw/relations.yaml"
OWN_RELATIONS = """\
# How facts of facts.csv become language, per relation and language; docs/formats.md of Perennial says how.
# A relation that is missing here is asked for in plain English. Pages and slices bring relations of their own.
relations: {}
"""
EVERYDAY = re.compile(r"^everyday:.*?(?=^\S)", re.MULTILINE | re.DOTALL)  # what people say around a question
README = """\
# {name}

A language model that Perennial keeps current, slice by slice.

    pip install -r requirements.txt
    perennial add 2024 FOLDER    # facts.csv, chat.jsonl, examples.jsonl, ..., or pages: Markdown, text, HTML, PDF
    perennial run                # trains, measures, registers; `dvc repro` builds the same
    perennial chat

| where | what |
|---|---|
| `params.yaml` | every parameter; `perennial presets` lists settings for other models |
| `data/raw/<slice>` | what arrived, in git |
| `data/raw/general`, `topics`, `data/canary` | what a model is also measured on, and learns words from |
| `dvc.yaml`, `code.json` | the steps, and the sums of their code: by `perennial init .` |
| `dvc.lock` | what was built from what: commit it |

`perennial --help` lists the commands.
"""
FILES = (
    ".gitignore",
    ".dvcignore",
    ".dvc/config",
    ".dvc/.gitignore",
    "data/canary",
    "data/raw/general",
    "data/raw/topics",
)


def shipped() -> Path:
    """The folder that has params.yaml, dvc.yaml, presets/ and the rest."""
    checkout = ROOT.parent
    return checkout if (checkout / GRAPH).is_file() else Path(__file__).with_name("shipped")


def texts(name: str) -> dict[str, str]:
    """What is written into a new project that is called so, by path."""
    return {
        PARAMS.name: _settings(),
        RELATIONS: f"{OWN_RELATIONS}{_everyday()}",
        DEPLOYED: (shipped() / DEPLOYED).read_text(encoding="utf-8").replace(BY_FILE, BY_MODULE),
        "README.md": README.format(name=name),
    }


def _everyday() -> str:
    found = EVERYDAY.search((shipped() / RELATIONS).read_text(encoding="utf-8"))
    assert found
    return found[0]


def graph() -> str:
    """dvc.yaml for a project that has no code of its own: a step depends on its code's sum instead."""
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 120, True  # type: ignore[assignment]
    loaded = yaml.load((shipped() / GRAPH).read_text(encoding="utf-8"))
    for name, stage in loaded["stages"].items():
        body = stage.get("do", stage)
        if not (left := [dep for dep in body["deps"] if not dep.startswith(OF_CODE)]):
            del body["deps"]
        else:
            body["deps"] = left
        body["params"] = [*body.get("params", ()), {CODE: [f"steps.{name}"]}]
    out = io.StringIO()
    yaml.dump(loaded, out)
    return MADE + out.getvalue()


def code() -> str:
    """code.json: the version that is installed, the sum of all its code, and that of each step."""
    stages: dict[str, Any] = YAML(typ="safe").load((shipped() / GRAPH).read_text(encoding="utf-8"))["stages"]
    steps = {
        name: sum_of(
            ROOT / dep.removeprefix(OF_CODE) for dep in stage.get("do", stage)["deps"] if dep.startswith(OF_CODE)
        )
        for name, stage in stages.items()
    }
    return json.dumps({DISTRIBUTION: version(DISTRIBUTION), "all": sum_of([ROOT]), "steps": steps}, indent=1) + "\n"


def requirements() -> dict[str, str]:
    """The installed versions that decide what a step writes, without what names a build of one: +cpu."""
    return {package: version(package).partition("+")[0] for package in (DISTRIBUTION, *LIBRARIES)}


def _settings() -> str:
    """params.yaml with no slice, and a handful of the entries to compare."""
    path = shipped() / PARAMS
    text, params = path.read_text(encoding="utf-8"), load_params(path)
    text = without_slices(text, list(params.timeline))
    text = without(text, ("comparison", "entries"), params.comparison.entries.keys() - set(COMPARED))
    own = {"pretrain": {"slice": None}, "dataset": {"languages": ["en"]}, "registry": {"model": None}}
    return with_settings(text, own)
