"""Imports run one way: flows -> steps -> rooms, and each library has one room."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "tasks").rglob("*.py"), *(ROOT / "flows").rglob("*.py")])


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    return names


def uses(path: Path, package: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for name in imported(path))


@pytest.mark.parametrize(
    ("package", "room"),
    [("mlflow", "tasks/registry"), ("prefect", "flows"), ("dvc", "flows"), ("flows", "flows")],
)
def test_only_its_own_room_imports(package, room):
    strangers = [str(path) for path in FILES if uses(path, package) and not path.is_relative_to(ROOT / room)]
    assert not strangers
    assert any(uses(path, package) for path in FILES)


@pytest.mark.parametrize("other", ["tasks.retrieval", "tasks.memory", "tasks.registry"])
def test_the_language_models_room_knows_no_other(other):
    assert not [str(path) for path in (ROOT / "tasks/lm").rglob("*.py") if uses(path, other)]


@pytest.mark.parametrize("room", ["corpus", "retrieval", "lm", "memory", "scoring", "reporting"])
def test_a_room_knows_no_step(room):
    steps = {f"tasks.{path.stem}" for path in (ROOT / "tasks").glob("*.py")}
    steps -= {"tasks.artifact", "tasks.errors", "tasks.params", "tasks.__init__", "tasks.steps", "tasks.sections"}
    steps -= {"tasks.method_params", "tasks.adapter_params", "tasks.solved_params", "tasks.method_kinds",
              "tasks.litter", "tasks.strict_yaml", "tasks.sources", "tasks.utf8"}  # fmt: skip
    assert not {step for path in (ROOT / "tasks" / room).rglob("*.py") for step in imported(path) & steps}


def test_no_two_files_import_each_other():
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
    needs = {name: needed_by(path) & names.keys() - {name} for name, path in names.items()}
    assert not {(one, other) for one, others in needs.items() for other in others if one in needs[other]}


def needed_by(path: Path) -> set[str]:
    """Modules as they are imported, `from flows import graph` among them."""
    found = imported(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found
