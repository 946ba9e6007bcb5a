"""The world before the oldest slice: no facts, and the templates that turn facts into language."""

from pathlib import Path

from tasks import artifact
from tasks.corpus.slices import Examples
from tasks.corpus.templates import read_templates


def origin(relations: Path, out: Path) -> None:
    """Check relations.yaml and write the examples folder that the oldest slice follows."""
    with artifact.writing(out) as folder:
        Examples(templates=read_templates(relations)).save(folder, previous=None)
