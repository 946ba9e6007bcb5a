"""`python -m MODULE` in processes of their own that are forked off one which has imported the large libraries.

To import them takes a process eight seconds. What is forked has none of the project's modules: it imports those of
the project that it is called in. Prefect reads the environment when it is imported, so it comes later.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path

OWN = ("tasks", "flows", "tests")
PERENNIAL = "flows.commands"

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([f"{__name__}_libraries"])


def start(
    root: Path, module: str, words: Sequence[str], environment: dict[str, str], files: Path | None = None
) -> ForkServerProcess:
    """`python -m MODULE WORDS` in a project; its input is the file `in` of `files`, what it prints goes to `out`."""
    process = _context.Process(target=_be, args=(str(root), module, words, environment, files and str(files)))
    process.start()
    return process


def run(
    root: Path, module: str, words: Sequence[str], environment: dict[str, str], told: str = ""
) -> subprocess.CompletedProcess[str]:
    """The same, waited for; what it printed on either stream is `stdout`."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in").write_text(told)
        process = start(root, module, words, environment, Path(folder))
        process.join()
        return subprocess.CompletedProcess([module, *words], process.exitcode, (Path(folder) / "out").read_text(), "")


def _be(root: str, module: str, words: Sequence[str], environment: dict[str, str], files: str | None) -> None:
    source, sink = (f"{files}/in", f"{files}/out") if files else (os.devnull, os.devnull)
    os.dup2(os.open(source, os.O_RDONLY), 0)
    os.dup2(os.open(sink, os.O_WRONLY | os.O_CREAT, 0o600), 1)
    os.dup2(1, 2)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(root)
    sys.argv = [module, *words]
    sys.path[:0] = [root, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    for name in [name for name in sys.modules if name.partition(".")[0] in OWN]:
        del sys.modules[name]
    try:
        runpy.run_module(module, run_name="__main__")
    finally:
        with suppress(ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
