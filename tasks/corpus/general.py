"""General text: short paragraphs about nothing in particular, by which is seen what training does to a language."""

from pathlib import Path

from tasks.corpus.slices import Row
from tasks.corpus.text import one_line, typed, unfit
from tasks.errors import BadInput
from tasks.litter import is_litter
from tasks.utf8 import read_utf8

General = dict[str, list[Row]]  # by language, which is a file's name


def read_general(folder: Path) -> General:
    """Read every *.txt of `folder`, one language each, as rows without a prompt; an empty line parts paragraphs.

    Raises:
        BadInput: there is no such file, or one is not UTF-8, holds no text, or holds what can't be used; by line.
    """
    files = sorted(path for path in folder.glob("*.txt") if not is_litter(path.name))
    if not files:
        raise BadInput(f"{folder} has no text. Put paragraphs of ordinary prose into {folder}/en.txt or the like.")
    texts: General = {}
    for path in files:
        language = typed(path.stem)
        if language in texts:
            raise BadInput(f"{path}: another file's name is {language}, too, in another form. Put both into one.")
        texts[language] = _paragraphs(path)
    return texts


def _paragraphs(path: Path) -> list[Row]:
    if not path.is_file():
        raise BadInput(f"{path} is no file, but a folder or a link that leads to none. Put a text there, or delete it.")
    paragraphs: list[tuple[int, list[str]]] = []
    parted = True
    for number, line in enumerate(read_utf8(path).split("\n"), start=1):
        text = _usable(line, path, number)
        if text and parted:
            paragraphs.append((number, [text]))
        elif text:
            paragraphs[-1][1].append(text)
        parted = not text
    if not paragraphs:
        raise BadInput(f"{path} holds no text. Fill it with paragraphs, or delete it.")
    return [{"prompt": "", "target": _usable(" ".join(lines), path, number)} for number, lines in paragraphs]


def _usable(text: str, path: Path, line: int) -> str:
    """The text in its normal form; of a paragraph `line` is the first."""
    text = one_line(text)
    if reason := unfit(text):
        raise BadInput(f"{path}, line {line}: what begins here {reason}")
    return text
