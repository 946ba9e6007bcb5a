"""`perennial erase`: takes rows that were given out of the solved memory again, and writes a receipt.

Hashes are written into data/raw of the newest slice. Then the timeline is brought up to date: stage 2 subtracts what
the rows had brought, and evaluation, the gate and the registry take the model as any other. Where a kill falls, the
same command goes on.
"""

import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from flows import receipt
from flows.add import EXAMPLES, RAW, track_again
from flows.locks import only_run
from flows.publish import NotAccepted, NotPublished
from flows.receipt import MODELS
from flows.run import run_timeline
from tasks import artifact
from tasks.corpus.check import listing
from tasks.corpus.erasure import FIELDS, digest, digest_of_plain
from tasks.corpus.raw import ERASED, Numbered, Problem, Raw, read_raw
from tasks.corpus.slices import load_examples
from tasks.corpus.text import shown
from tasks.errors import BadInput
from tasks.params import PARAMS, Params, load_params

RETRIEVED = "memories.txt"  # every slice's retriever is trained anew, so of these lines nothing stays


@dataclass(frozen=True)
class Found:
    """A row that is to be erased: the line that names it, its hash, and the slices that brought it."""

    file: str
    line: int
    text: str
    digest: str
    slices: tuple[str, ...]


def erase_rows(root: Path, paths: list[Path], console: Console) -> None:
    """Erase the rows in these files, or in folders of them, bring the timeline up to date, and print the receipt.

    Args:
        root: the project's folder.
        paths: as they were given to `perennial add`.
        console: where to print.

    Raises:
        BadInput: a row was never given, or can't be taken out exactly. Nothing is changed.
        PerennialError: as `perennial run`. What is to be erased stays noted, and the same command goes on.
    """
    raw = _read(paths)
    with only_run(root, "erase"):
        params = load_params(root / PARAMS)
        newest = list(params.timeline)[-1]
        found = _found(root, params, raw)
        _refuse_what_stays(root, params, found)
        before = artifact.manifest_sum(root / MODELS / newest / "lm")
        note(root, newest, {f"{each.digest} {each.file}" for each in found})
    problem = None
    try:
        run_timeline(root, console)
    except (NotAccepted, NotPublished) as error:  # the model is there, and the receipt says who answers
        problem = error
    _refuse_if_unread(root, newest, found)
    rows = [{"file": each.file, "digest": each.digest, "slices": list(each.slices)} for each in found]
    written = receipt.write(root, load_params(root / PARAMS), rows, before)
    console.print(receipt.told(written), highlight=False, soft_wrap=True, markup=False)
    if problem:
        raise problem


def _read(paths: list[Path]) -> Raw:
    """All rows in the files and folders.

    Raises:
        BadInput: one of them is none of a slice's, or a row can't be read.
    """
    raw = Raw()
    for path in paths:
        if not path.is_dir() and path.name not in FIELDS:
            raise BadInput(f"{path} has another name than {', '.join(FIELDS)}: name the file as it was given to `add`.")
        with tempfile.TemporaryDirectory() as alone:
            folder = path
            if path.is_file():
                folder = Path(alone)
                shutil.copyfile(path, folder / path.name)
            read = read_raw(folder)
        if read.problems:
            raise BadInput(f"{path} can't be read:\n{listing(read.problems)}")
        for file in FIELDS:
            _rows(raw, file).extend(_rows(read, file))
    return raw


def _rows(raw: Raw, file: str) -> list[Numbered]:
    rows: list[Numbered] = getattr(raw, file.partition(".")[0])
    return rows


def _found(root: Path, params: Params, raw: Raw) -> list[Found]:
    """The rows, and which slices brought them.

    Raises:
        BadInput: the timeline is not built, or none of its slices brought a row.
    """
    brought: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for name in params.timeline:
        examples = load_examples(root / EXAMPLES / name)
        digests = [digest("facts.csv", fact) for fact in examples.facts]
        digests += [digest(RETRIEVED, row) for row in examples.memories]
        digests += [digest_of_plain(row) for row in [*examples.train, *examples.test] if not row["fact"]]
        for each in digests:
            brought[each][name] = None
        for row in examples.erased:  # before; of the slice's own rows nothing else is left
            if not brought[row["digest"]]:
                brought[row["digest"]][name] = None
    found = {}
    for file in FIELDS:
        for line, row in _rows(raw, file):
            text = shown(", ".join(row[name] for name in FIELDS[file]))
            each = digest(file, row)
            found[each] = Found(file, line, text, each, tuple(brought.get(each, ())))
    reason = "no slice brought '{}'. Write it as it was given."
    _refuse([Problem(each.file, each.line, reason.format(each.text)) for each in found.values() if not each.slices])
    return list(found.values())


def _refuse_what_stays(root: Path, params: Params, found: list[Found]) -> None:
    """Refuse what can't be taken out exactly: all but memories, where nothing was solved; what trained the backbone."""
    from tasks.lm.solved.files import KEPT, SLICES, has_memory

    language = [each for each in found if each.file != RETRIEVED]
    newest = root / MODELS / list(params.timeline)[-1] / "lm"
    artifact.verified(newest)
    if not language:
        return
    if not has_memory(newest):
        raise BadInput(
            f"{newest.relative_to(root)} has no solved memory, and what gradients learnt can't be taken out exactly. "
            f"Set `stage2: {{how: solved}}` in {PARAMS}, or take the rows out of {RAW}, and run the timeline anew."
        )
    names, known = list(params.timeline), artifact.read_json(newest / KEPT / SLICES)
    begun = next(place for place, name in enumerate(names) if name in known)
    trained = begun + _trained(root, names[begun])
    oldest = {
        each.digest: next((name for name in each.slices if names.index(name) < trained), None) for each in language
    }
    reason = (
        "'{}' came with {}, and what that brought trained the backbone itself, which can't be undone exactly. Take it "
        f"out of {RAW}, and run the timeline anew."
    )
    _refuse([
        Problem(each.file, each.line, reason.format(each.text, name))
        for each in language for name in [oldest[each.digest]] if name
    ])  # fmt: skip


def _trained(root: Path, name: str) -> bool:
    """Whether the backbone was trained on the slice with which the memory began."""
    from tasks.lm.pretrained import base_of

    log = artifact.read_rows(root / MODELS / name / "stage1/log.jsonl")
    return bool(log) or not base_of(root / MODELS / name / "lm")["pretrained"]


def _refuse_if_unread(root: Path, newest: str, found: list[Found]) -> None:
    """What DVC doesn't see makes nothing stale."""
    read = {row["digest"] for row in load_examples(root / EXAMPLES / newest).erased}
    if not {each.digest for each in found} <= read:
        path = RAW / newest / ERASED
        raise BadInput(
            f"{path} was not read, so nothing is erased. .dvcignore must not leave it out: see docs/formats.md."
        )


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise BadInput(f"Nothing is erased:\n{listing(problems)}")


def note(root: Path, newest: str, lines: set[str]) -> None:
    """Write what is to be erased, hashes and files, into erased.txt of the newest slice."""
    path = root / RAW / newest / ERASED
    if not path.parent.is_dir():
        raise BadInput(f"{RAW / newest} is not here. `dvc checkout` brings it.")
    noted = set(path.read_text(encoding="utf-8").splitlines()) if path.exists() else set()
    if new := lines - noted:
        artifact.write_file(path, "".join(f"{line}\n" for line in sorted(noted | new)).encode())
        track_again(root, newest)
