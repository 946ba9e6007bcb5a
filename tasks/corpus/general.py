"""General text: short paragraphs about nothing in particular, by which is seen what training does to a language."""

from pathlib import Path

from tasks.corpus.slices import Row
from tasks.errors import BadInput

General = dict[str, list[Row]]  # by language, which is a file's name


def read_general(folder: Path) -> General:
    """Read every *.txt of `folder`, one language each, as rows without a prompt; an empty line parts paragraphs.

    Raises:
        BadInput: there is no such file, or one is not UTF-8 or holds no text.
    """
    files = sorted(path for path in folder.glob("*.txt") if not path.name.startswith("."))
    if not files:
        raise BadInput(f"{folder} has no text. Put paragraphs of ordinary prose into {folder}/en.txt or the like.")
    return {path.stem: _paragraphs(path) for path in files}


def _paragraphs(path: Path) -> list[Row]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is no UTF-8 ({error}). Save it as UTF-8.") from error
    paragraphs: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            paragraphs[-1].append(line.strip())
        elif paragraphs[-1]:
            paragraphs.append([])
    texts = [" ".join(each) for each in paragraphs if each]
    if not texts:
        raise BadInput(f"{path} holds no text. Fill it with paragraphs, or delete it.")
    return [{"prompt": "", "target": text} for text in texts]
