"""The modules of `tasks` that a step runs through: what it imports, and what that imports, lazily or at once.

dvc.yaml's lists of code are checked against it (tests/test_closure.py), and a checkpoint or a compared result belongs
to the code that it tells.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from tasks.errors import BadInput
from tasks.litter import is_litter

PACKAGE = "tasks"
ROOT = Path(__file__).parent
CODE = "code.json"  # of a project without code of its own: the sums of the installed package's, by step
# How settings and files are read, steps called, folders written and runs shown. What they decide is known by other
# means: the settings themselves, the bytes of inputs and outputs. An edit here must not retrain years.
PLUMBING = tuple(
    f"{PACKAGE}.{name}"
    for name in ("errors", "params", "method_params", "adapter_params", "solved_params", "method_kinds", "sections",
                 "strict_yaml", "utf8", "litter", "sources", "artifact", "steps", "registry")
)  # fmt: skip


def refuse_other_code(project: Path) -> None:
    """Refuse to work on a project with other code than its own: DVC would record the project's for it.

    A project without a `tasks/` of its own has the installed package's, as code.json says.

    Raises:
        BadInput: another was imported.
    """
    own = project / PACKAGE
    if own.is_dir() and not own.samefile(ROOT):
        raise BadInput(
            f"The code that runs is {ROOT}, and this project's own is {own.resolve()}: use the project's own "
            "environment, or install its code into this one (`pip install -e .` in the project's folder)."
        )
    if (noted := project / CODE).is_file() and not own.is_dir() and not _is_noted(noted):
        raise BadInput(
            f"Another version of Perennial is installed than {noted} names. `perennial init .` in the project's folder "
            "takes it up, and the steps whose code it changes run again; to stay with the old one, install that."
        )


def code_of(*modules: str, without: tuple[str, ...] = (), plumbing: tuple[str, ...] = PLUMBING) -> list[Path]:
    """The files of the modules and of all that they import from `tasks`, sorted.

    Args:
        modules: by dotted name, tasks.stage1.
        without: modules or packages that are neither followed nor told, besides the plumbing.
        plumbing: of which an edit changes no result of theirs.
    """
    left_out = (*plumbing, *without)
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or any(name == each or name.startswith(f"{each}.") for each in left_out):
            continue
        found.add(name)
        waiting.extend(_imports(name))
    return sorted(_file(name) for name in found)


def code_sum(*modules: str, without: tuple[str, ...] = ()) -> str:
    """SHA-256 of the names and bytes of `code_of`."""
    return sum_of(code_of(*modules, without=without))


def sum_of(paths: Iterable[Path]) -> str:
    """SHA-256 of the names and bytes of modules: of all in a folder, where one is named."""
    total = hashlib.sha256()
    for path in sorted({module for each in paths for module in _modules(each)}):
        total.update(f"{path.relative_to(ROOT).as_posix()} {_digest(path)}\n".encode())
    return total.hexdigest()


def _modules(path: Path) -> list[Path]:
    return [each for each in path.rglob("*.py") if not is_litter(each.name)] if path.is_dir() else [path]


def _is_noted(noted: Path) -> bool:
    try:
        return bool(json.loads(noted.read_text(encoding="utf-8"))["all"] == sum_of([ROOT]))
    except (ValueError, KeyError, TypeError):
        return False


@cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _imports(name: str) -> tuple[str, ...]:
    """What a module imports from `tasks`, wherever in its text; not what only type checkers see."""
    path = _file(name)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = []
    for node in _statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found += [each for each in names if each.startswith(f"{PACKAGE}.") and _is_module(each)]
    return tuple(found)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from _statements(node)


def _is_module(name: str) -> bool:
    return _path(name).with_suffix(".py").is_file() or (_path(name) / "__init__.py").is_file()


def _file(name: str) -> Path:
    folder = _path(name)
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def _path(name: str) -> Path:
    return ROOT.joinpath(*name.split(".")[1:])
