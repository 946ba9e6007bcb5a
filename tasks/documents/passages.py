"""Cuts a page into overlapping chunks, each with the headings that it stands under.

A chunk holds whole paragraphs where they fit, else whole sentences, else whole words. It begins with the end of the
chunk before, so that what lies across a border is in one of the two. No chunk crosses a heading.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

from tasks.corpus.text import normal, typed, unreadable
from tasks.documents.outline import PARSER
from tasks.documents.reading import HTML, MARKDOWN, PDF, read_page, text_of, without_front_matter
from tasks.errors import BadInput
from tasks.utf8 import content_of

SIZE = 300  # characters of a chunk: about the 64 pieces that a retriever reads, and half of what the small model reads
OVERLAP = 60  # characters that a chunk repeats of the one before: a short sentence
MAX_BYTES = 2 * 1024 * 1024  # a thick book: some 9,000 chunks
MAX_TITLE = 100  # characters: a longer line is no heading
BETWEEN = " > "  # a heading and the one under it

# Where a sentence ends: a mark, brackets and quotes that close, white space. After Korean the space is often
# forgotten, after Chinese and Japanese there is none. An item of a list, or a row of a table, begins anew. A wrong
# cut does no harm: sentences stand in a chunk as they stood in the file.
SENTENCE = re.compile(
    r"(?<=[.!?…])[\"'”’)\]*_]*\s+|(?<=[가-힣][.!?])(?=[가-힣])|(?<=[。！？])[”’」』）]*\s*"
    r"|\n\s*(?=(?:[-*+•|]|\d{1,3}[.)])[ \t])"
)
SHORTENED = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|(?:[A-Za-z]\.)+[A-Za-z]|\d{1,3}|Mrs?|Ms|[DS]r|Jr|Prof|St|[Nn]o|vs|cf|etc)\.$"
)
LOOK_BACK = 8  # characters, in which a shortened word has room
SPACE = re.compile(r"\s+")
PART = re.compile(rf"(?s).{{1,{SIZE - OVERLAP}}}(?:\s+|$)|.{{{SIZE - OVERLAP}}}")  # leaves room for an overlap

MARKS = ("heading_open", "fence", "hr")  # of Markdown; between them is text
LAST = (1, ["the end"])  # as if a heading followed

Paragraph = list[str]  # its sentences, of code its lines, each with the white space after it


class Document(NamedTuple):
    """A file as it is learnt: its name, a hash, and its chunks, each with the headings above it."""

    source: str
    digest: str
    chunks: list[tuple[str, str]]


def read_document(path: Path, folder: Path | None = None) -> Document:
    """Read and cut one file. The digest is that of the chunks, so that another way of cutting is another document.

    Args:
        path: of Markdown, HTML or PDF, by its name; what is named otherwise is text.
        folder: that it was found in, if it is known by its place there and not by its name alone.

    Raises:
        BadInput: there is no such file, or it is a folder, too large, no text of its kind, or empty; or its name is
            unseen.
    """
    if path.suffix.lower() in (*HTML, *PDF):
        page = read_page(path, path.parent)
        found = cut(page.text, True, page.title)
    else:
        found = cut(_text(path), path.suffix.lower() in MARKDOWN)
    # a cut can leave a joiner with nothing to join
    chunks = [(heading, chunk) for heading, each in found if (chunk := normal(each))]
    if not chunks:
        raise BadInput(f"{path} is empty. Leave it out.")
    source = typed(path.relative_to(folder).as_posix() if folder else path.name)
    if not source or unreadable(source):
        raise BadInput(f"The name of {path} has characters that can't be shown, or none that can. Rename the file.")
    digest = hashlib.sha256(json.dumps(chunks).encode()).hexdigest()
    return Document(source, digest, chunks)


def cut(text: str, markdown: bool, title: str = "") -> list[tuple[str, str]]:
    """The chunks of a text, in order, each after its headings ("Travel > Norway"; "" where there are none)."""
    sections = _sections(text, title) if markdown else [("", _paragraphs(text))]
    return [(heading, chunk) for heading, paragraphs in sections for chunk in packed(paragraphs)]


def packed(paragraphs: list[Paragraph]) -> list[str]:
    """Fill chunks with paragraphs, with the sentences of one that is longer than a chunk, or with their parts."""
    chunks: list[str] = []
    text = ""
    for piece in chain.from_iterable(map(_pieces, paragraphs)):
        length = len(piece.rstrip())
        if text.strip() and len(text) + length > SIZE:
            chunks.append(text.strip())
            text = _end_of(text, min(OVERLAP, SIZE - length))
        text += piece
    return [*chunks, text.strip()] if text.strip() else chunks


def sentences(text: str) -> list[str]:
    """The sentences of a passage, at least one."""
    return [each.strip() for paragraph in _paragraphs(text) for each in paragraph if each.strip()] or [text]


def _pieces(paragraph: Paragraph) -> Iterator[str]:
    whole = "".join(paragraph)
    for sentence in [whole] if len(whole.rstrip()) <= SIZE else paragraph:
        if len(sentence.rstrip()) <= SIZE:
            yield sentence
        else:
            yield from (match[0] for match in PART.finditer(sentence))


def _end_of(text: str, room: int) -> str:
    """The last whole sentences that fit into `room` characters; else the last words, else letters."""
    if room <= 0:
        return ""
    for starts in (_starts(text), [match.end() for match in SPACE.finditer(text)]):
        if fitting := [at for at in starts if len(text) - room <= at < len(text.rstrip())]:
            return text[fitting[0] :]
    return text[len(text) - room :]


def _starts(text: str) -> list[int]:
    """Where each sentence but the first begins."""
    ends = (match for match in SENTENCE.finditer(text)
            if not SHORTENED.search(text[max(0, match.start() - LOOK_BACK) : match.start()]))  # fmt: skip
    return [match.end() for match in ends]


def _paragraphs(text: str) -> list[Paragraph]:
    return [_sentences(each) for each in re.split(r"\n\s*\n", text.strip())]


def _sentences(text: str) -> Paragraph:
    """A paragraph in pieces that give it when they are put together, a blank line after it."""
    text = text.strip("\n") + "\n\n"
    return [text[start:stop] for start, stop in pairwise([0, *_starts(text), len(text)]) if stop > start]


# --- Markdown ---


def _sections(text: str, title: str) -> Iterator[tuple[str, list[Paragraph]]]:
    """The path of headings and the paragraphs under it. A heading with nothing under it is a paragraph itself.

    Front matter is left out, but for its title, which stands above all headings.
    """
    fields, text = without_front_matter(text)
    title = fields.get("title", title)
    path = {0: title} if 0 < len(title) <= MAX_TITLE else {}
    paragraphs: list[Paragraph] = []
    for level, block in chain(_blocks(text), [LAST]):
        if not level:
            paragraphs += [block] if "".join(block).strip() else []
            continue
        lowest = max(path, default=0)
        if not paragraphs and level <= lowest:
            paragraphs = [[path.pop(lowest)]]
        if paragraphs:
            yield BETWEEN.join(dict.fromkeys(path.values())), paragraphs  # a title is often repeated as the heading
        paragraphs = []
        path = {above: title for above, title in path.items() if above < level} | {level: block[0]}


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """Headings as (level, [title]), paragraphs as (0, sentences), what stands between fences as (0, lines); as it was
    written, with its marks: a link's address can be what is asked for.
    """
    lines, at = text.split("\n"), 0
    tokens = PARSER.parse(text)
    for place, token in enumerate(tokens):
        title = " ".join(tokens[place + 1].content.split()) if token.type == "heading_open" else ""
        if token.level or not token.map or token.type not in MARKS or len(title) > MAX_TITLE:
            continue
        yield from ((0, each) for each in _paragraphs("\n".join(lines[at : token.map[0]])))
        if title:
            yield int(token.tag[1:]), [title]
        yield 0, [f"{line}\n" for line in token.content.splitlines()] + ["\n"]
        at = token.map[1]
    yield from ((0, each) for each in _paragraphs("\n".join(lines[at:])))


# --- the file ---


def _text(path: Path) -> str:
    """The file's text in normal form: composed letters (macOS takes Hangul apart), plain spaces and line ends."""
    return normal(text_of(path, content_of(path, MAX_BYTES)))
