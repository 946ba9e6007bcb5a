"""The project that a command works in: its folder is entered, the libraries' talk is kept off the page."""

import logging
import os
import sys
import warnings
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import tasks  # noqa: F401  (sets what libraries read when they are imported)
from tasks.closure import refuse_other_code
from tasks.errors import BadInput

QUIET = {
    "PYTHONWARNINGS": "ignore",
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
PLAIN_WIDTH = 120  # where there is no terminal to ask
ROOT_FILES = ("dvc.yaml", "params.yaml")

console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
complaints = Console(stderr=True)

Verbose = Annotated[bool, typer.Option("--verbose", help="Show the libraries' logs, and tracebacks.")]


def enter(verbose: bool) -> Path:
    """Go to the project's folder: the nearest one upwards that has dvc.yaml and params.yaml.

    Raises:
        BadInput: there is none, or it has other code than this process.
    """
    hush(verbose)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if all((folder / name).is_file() for name in ROOT_FILES):
            refuse_other_code(folder)
            os.chdir(folder)
            return folder
    raise BadInput(f"{here} is in no Perennial project: there is no dvc.yaml and params.yaml here or above.")


def hush(verbose: bool) -> None:
    """Keep the libraries' talk off the page."""
    logging.basicConfig(level=logging.INFO if verbose else logging.CRITICAL, format="%(name)s: %(message)s")
    if not verbose:
        warnings.simplefilter("ignore")
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)


def clock(moment: str) -> str:
    """A moment in ISO 8601 as people read it, in this machine's time zone: 2026-11-30 09:15."""
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")
