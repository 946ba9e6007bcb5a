"""`perennial presets` and `perennial run --preset NAME`: settings for one model, laid over params.yaml."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.locks import only_run
from flows.starter import shipped
from tasks.artifact import write_file
from tasks.params import PARAMS, load_params
from tasks.presets import PRESETS, SMALL, Preset, laid_over, names, read_preset
from tasks.utf8 import read_utf8


def print_presets(root: Path, console: Console) -> None:
    """A line for each preset: what it is, what it needs."""
    table = Table("preset", "what", "parameters", "licence", "memory", "time")
    for name in names(*_folders(root)):
        about = read_preset(name, *_folders(root)).about
        needs = (each or "not measured" for each in (about.parameters, about.licence, about.memory, about.time))
        table.add_row(name, *map(escape, (about.what, *needs)))
    console.print(table)
    console.print("`perennial run --preset NAME` writes its settings into params.yaml, and runs.", highlight=False)


def take_presets(root: Path, chosen: list[str], console: Console) -> None:
    """Fetch what the presets need, and lay them over params.yaml; nothing is written where it says so already.

    Raises:
        BadInput: there is no such preset, it does not fit, or its model can't be had.
        Busy: a run is at work, with the settings as they are.
    """
    small, *presets = [read_preset(name, *_folders(root)) for name in (SMALL, *chosen)]
    load_params(root / PARAMS, empty=True)  # what is wrong there is no preset's fault
    before = read_utf8(root / PARAMS)
    after = laid_over(before, presets, small)
    for preset in presets:
        _bring(preset, console)
    if after != before:
        with only_run(root):  # read again: a slice may have been added while a model was fetched
            write_file(root / PARAMS, laid_over(read_utf8(root / PARAMS), presets, small).encode())
        told = f"{'preset' if len(chosen) == 1 else 'presets'} {', '.join(chosen)}"
        console.print(f"{PARAMS} has the settings of the {told} now (`git diff {PARAMS}`).", highlight=False)


def _folders(root: Path) -> tuple[Path, Path]:
    """The project's own presets, and those that come with Perennial."""
    return root / PRESETS, shipped() / PRESETS


def _bring(preset: Preset, console: Console) -> None:
    if preset.about.note:
        console.print(f"{preset.name}: {escape(preset.about.note)}", highlight=False, soft_wrap=True)
    for name in preset.about.fetch:
        from tasks.sources.fetching import fetch

        folder, origin = fetch(name)
        console.print(escape(f"{name}: {folder}, {origin}."), highlight=False, soft_wrap=True)
