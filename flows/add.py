"""`perennial add`: a folder of new data becomes the next slice, or nothing at all is changed."""

import filecmp
import shutil
from itertools import takewhile
from pathlib import Path

from flows import graph as graphs
from flows.locks import only_run
from tasks.artifact import partial_path, write_file
from tasks.corpus.check import listing, problems_of
from tasks.corpus.examples import examples_of, problems_of_rows
from tasks.corpus.raw import RELATIONS, Raw, files_of, read_raw, unknown_files, wrong_names
from tasks.corpus.slices import Examples, history, never_given
from tasks.corpus.tables import READERS, Columns, is_table, write_table
from tasks.corpus.templates import Templates, read_templates
from tasks.corpus.text import typed
from tasks.documents.making import Made, make_rows, read_pages
from tasks.documents.reading import pages_in
from tasks.errors import BadInput
from tasks.params import PARAMS, Params, is_slice_name, load_params
from tasks.params_text import with_line, with_settings

RAW = Path("data/raw")
EXAMPLES = Path("data/examples")
ALL = Columns()
LARGE = 5_000_000  # bytes: from here on the data goes into DVC's cache and not into git


def add_slice(root: Path, name: str, folder: Path, taking: Columns = ALL) -> str:
    """Check `folder`, copy it to data/raw/NAME and append NAME to the timeline; a sentence that says what was done.

    Of pages in the folder (Markdown, text, HTML, PDF) rows are made, which go to data/raw/NAME in their stead; so are
    those of a table.

    Args:
        root: the project's folder.
        name: the new slice's.
        folder: of the slice's files, of pages, or a table (tasks/corpus/tables.py).
        taking: which rows and columns of a table.

    Raises:
        BadInput: the name or the data is refused, by file and line. Nothing is changed.
        Busy: a run is at work.
    """
    name = typed(name)
    with only_run(root, "add"):
        params = load_params(root / PARAMS, empty=True)
        _check_name(name, params)
        older = _older(root, params)
        last = next(reversed(params.timeline), None)
        target = root / RAW / name
        ours = not target.exists()
        before = (root / PARAMS).read_text(encoding="utf-8")
        try:
            # what is checked is the copy: the source may change meanwhile
            data = _taken(folder, taking, name, target)
            made = _made(root, name, folder, data, older, params)
            if not ours and not _same(data, target):
                raise BadInput(f"{RAW / name} exists and holds other data than {folder}. Move it away first.")
            raw = _checked(root, name, folder, data, older, params)
            if ours:
                data.rename(target)
            shutil.rmtree(data, ignore_errors=True)
            large = _size(target) > LARGE
            if large:
                _track(root, target)
            _append(root, name, params)
            _check_graph(root, name, last or name)
        except BaseException:
            if (root / PARAMS).read_text(encoding="utf-8") != before:
                write_file(root / PARAMS, before.encode())
            shutil.rmtree(partial_path(target), ignore_errors=True)
            if ours:
                shutil.rmtree(target, ignore_errors=True)
                target.with_name(f"{name}.dvc").unlink(missing_ok=True)
            raise
    kept = f"DVC keeps the data (commit {RAW / name}.dvc)" if large else f"commit {RAW / name}"
    place = f"after {last}" if last else "as the first slice"
    done = f"Added {name} {place}: {kept} and {PARAMS} with git. Next: `perennial run`."
    more = (str(made or ""), _normalised(raw.normalised), _not_learnt(len(raw.texts), params))
    return "\n".join(filter(None, (done, *more)))


def _normalised(counts: dict[str, int]) -> str:
    if not counts:
        return ""
    total = sum(counts.values())
    files = ", ".join(f"{file} {count}" for file, count in counts.items())
    return f"{total} {'text was' if total == 1 else 'texts were'} normalised ({files}); docs/formats.md says how."


def _not_learnt(texts: int, params: Params) -> str:
    if not texts or params.stage2.how != "solved":
        return ""
    those = "1 text" if texts == 1 else f"{texts} texts"
    return f"Not learnt: {those} of texts.jsonl, as stage2.how is solved; docs/analytic.md says what learns prose."


def with_slice(text: str, name: str, params: Params) -> str:
    """The text of params.yaml with one more slice at the end of the timeline, and of the reference if it is used.

    Lines are inserted and none is rewritten, so comments and the quotes of the keys stay: DVC drops a whole
    group of stages without a word when a key is a bare number.
    """
    if not params.timeline:
        text = with_line(text, "timeline", f'"{name}": {{previous: base}}')
        return with_settings(text, {"pretrain": {"slice": name}})
    last = list(params.timeline)[-1]
    text = with_line(text, "timeline", f'"{name}": {{previous: "{last}"}}')
    if params.reference:
        source = f"{last}/naive" if last in params.reference else f"{last}/lm"
        text = with_line(text, "reference", f'"{name}": {{previous: {source}}}')
    return text


def _check_name(name: str, params: Params) -> None:
    if not is_slice_name(name):
        raise BadInput(f"'{name}' can't be a slice's name: use letters, digits, '.', '_' and '-'.")
    if name in params.timeline:
        raise BadInput(f"The timeline has a slice {name} already. Choose another name.")


def _same(data: Path, target: Path) -> bool:
    """Whether the copy is there already: the user put it there, or an `add` was killed after copying."""
    names, known = ([file.name for file in files_of(each)] for each in (data, target))
    return names == known and not any(filecmp.cmpfiles(data, target, names, shallow=False)[1:])


def _made(root: Path, name: str, folder: Path, data: Path, older: list[Examples], params: Params) -> Made | None:
    """Add to the copy of a folder what can be made of its pages; how much that was, None if there are none."""
    if is_table(folder) or not (pages := read_pages(folder)):
        return None
    made = make_rows(pages, data, name, older, _templates(root, older), params.dataset.languages)
    if not files_of(data):
        raise BadInput(f"{folder} is not added: nothing can be made of its {made.pages} pages.")
    return made


def _checked(root: Path, name: str, folder: Path, data: Path, older: list[Examples], params: Params) -> Raw:
    """The slice as it was read from `data`, which is what is used of `folder`.

    Raises:
        BadInput: something is wrong with the names in the folder, or with the rows.
    """
    given = data if is_table(folder) else folder
    pages = pages_in(given)
    misnamed = wrong_names(data if pages else given)
    beside = {path.name for path in pages if path.parent == given}
    problems = [*misnamed, *(each for each in unknown_files(given) if each.file not in beside)]
    raw = read_raw(data)
    if not misnamed:
        problems += problems_of(raw, older, params.kind)
    if not problems:
        templates = _templates(root, older).extended_by(raw.templates or Templates())
        problems = problems_of_rows(examples_of(name, raw, older, templates, params.dataset)[0], older)
    if problems:
        raise BadInput(f"{folder} is not added:\n{listing(problems)}")
    return raw


def _older(root: Path, params: Params) -> list[Examples]:
    """The slices so far, to find test rows that they train on: as they were built, or as a run will build them."""
    names = list(params.timeline)
    built = list(takewhile(lambda name: (root / EXAMPLES / name).exists(), names))
    older = history(root / EXAMPLES / built[-1]) if built else []
    templates = _templates(root, older)
    for name in names[len(built) :]:
        raw = read_raw(root / RAW / name)
        templates = templates.extended_by(raw.templates or Templates())
        made = examples_of(name, raw, older, templates, params.dataset)[0]
        older = never_given([*older, made], {row["digest"] for row in made.erased})
    return older


def _templates(root: Path, older: list[Examples]) -> Templates:
    """All templates that are known after these slices."""
    path = root / RAW / RELATIONS
    templates = read_templates(path) if path.exists() else Templates()
    for examples in older:
        templates = templates.extended_by(examples.templates)
    return templates


def _taken(folder: Path, taking: Columns, name: str, target: Path) -> Path:
    """The files of a folder, or the one that a table makes, in the target's hidden sibling."""
    partial = partial_path(target)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if is_table(folder):
        write_table(folder, taking, name, partial)
        return partial
    if folder.is_file():
        raise BadInput(f"{folder} is no table that is read here ({', '.join(READERS)}). Give pages in a folder.")
    if taking:
        raise BadInput(f"{folder} is no table, so it has no columns to name: leave --column and --where out.")
    for file in files_of(folder):
        shutil.copyfile(file, partial / file.name)
    return partial


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _track(root: Path, target: Path) -> None:
    with graphs.opened(root) as graph:
        graph.repo.add(str(target))


def track_again(root: Path, name: str) -> None:
    """Let DVC know that a slice's data is another, if it is DVC that keeps it."""
    target = root / RAW / name
    if target.with_name(f"{name}.dvc").exists():
        _track(root, target)


def _append(root: Path, name: str, params: Params) -> None:
    text = with_slice((root / PARAMS).read_text(encoding="utf-8"), name, params)
    write_file(root / PARAMS, text.encode())
    if list(load_params(root / PARAMS).timeline) != [*params.timeline, name]:
        raise BadInput(f"{PARAMS} could not be extended. Append the slice by hand.")


def _check_graph(root: Path, name: str, last: str) -> None:
    """DVC must see the same steps for the new slice as for the one before."""
    with graphs.opened(root) as graph:
        addresses = [stage.addressing for stage in graph.stages]
    steps = {address.partition("@")[0] for address in addresses if graphs.slice_of(address) == last}
    if missing := sorted(step for step in steps if f"{step}@{name}" not in addresses):
        raise BadInput(f"dvc.yaml makes no {missing[0]}@{name} of the new slice; nothing was changed.")
