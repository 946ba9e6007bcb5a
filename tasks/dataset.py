"""A slice's training rows and held-out test sets, and which of its facts are new and which update an older one."""

from pathlib import Path

from tasks import artifact
from tasks.corpus.check import listing, problems_of
from tasks.corpus.examples import examples_of, problems_of_rows
from tasks.corpus.raw import files_of, read_raw
from tasks.corpus.slices import MANNERS, Examples, history, templates_until
from tasks.corpus.templates import Templates
from tasks.errors import BadInput
from tasks.params import Dataset, Kind


def dataset(settings: Dataset, raw: Path, previous: Path, out: Path, kind: Kind = "time") -> None:
    """Build the examples of the slice in `raw`, which follows the slice in `previous`.

    Raises:
        BadInput: a row of the slice can't be used; the sentence lists file, line and reason.
    """
    older = history(previous)
    read = read_raw(raw)
    if problems := problems_of(read, older, kind):
        raise BadInput(f"{raw} can't be used:\n{listing(problems)}")
    templates = templates_until(previous).extended_by(read.templates or Templates())
    examples, restated = examples_of(out.name, read, older, templates, settings)
    if problems := problems_of_rows(examples, older):
        raise BadInput(f"{raw} can't be used:\n{listing(problems)}")
    with artifact.writing(out) as folder:
        examples.save(folder, previous)
        artifact.write_json(folder / "raw.json", {path.name: artifact.file_sum(path) for path in files_of(raw)})
        artifact.write_json(folder / MANNERS, templates.manners())
        artifact.write_json(folder / "counts.json", _counts(examples, restated))


def _counts(examples: Examples, restated: int) -> dict[str, int]:
    updated = sum(fact["category"] == "updated" for fact in examples.facts)
    return {
        "new": len(examples.facts) - updated, "updated": updated, "restated": restated,
        "train": len(examples.train), "test": len(examples.test), "memories": len(examples.memories),
    }  # fmt: skip
