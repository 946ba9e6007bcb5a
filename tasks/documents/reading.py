"""Reads pages of Markdown, plain text, HTML or PDF: the title, the date, and the text as Markdown.

Of HTML the main part is read, without menus and footers; of a PDF the text, a page behind the other, without headings
(it has none that could be told). A date is one that the page itself names, or that stands in its file's name; when a
file was written says nothing, as every copy is written anew.
"""

import io
import re
import warnings
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

from tasks.corpus.raw import NAMES
from tasks.corpus.text import CONTROL, normal, one_line, shown, typed, unreadable
from tasks.errors import BadInput
from tasks.litter import is_litter
from tasks.utf8 import content_of, decoded, refuse_binary

PAGES = "pages"
MAX_BYTES = 32 * 1024 * 1024
MAX_PAGES = 10_000
MARKDOWN, HTML, TEXT, PDF = (".md", ".markdown"), (".html", ".htm"), (".txt",), (".pdf",)
KINDS = (*MARKDOWN, *TEXT, *HTML, *PDF)
MAX_TITLE = 120  # characters
FRONT_MATTER = re.compile(r"---[ \t]*\n(\w[\w -]*:.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|$)", re.DOTALL)
FIELD = re.compile(r"^(title|date)[ \t]*:[ \t]*(.*?)[ \t]*$", re.IGNORECASE | re.MULTILINE)
QUOTES = "\"'"
DAY = re.compile(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?!\d)")
BESIDE = ["script", "style", "nav", "header", "footer", "aside", "noscript", "template", "svg", "iframe", "button",
          "input", "select", "option", "textarea"]  # fmt: skip
DATED = ("article:published_time", "article:modified_time", "date", "dc.date", "dcterms.date")
LEFT_OPEN = re.compile(r"(?<=\w)-\n(?=[a-z])")  # a word that was parted at the end of a PDF's line


class Page(NamedTuple):
    """A page as it was read. title: "" if it has none; date: YYYY-MM-DD, or ""; text: Markdown."""

    source: str
    title: str
    date: str
    text: str


def pages_in(folder: Path) -> list[Path]:
    """The pages of a folder and of the folders in it; beside a slice's own files only those in a folder `pages`."""
    own = any((folder / name).is_file() for name in NAMES)
    return sorted(
        path
        for path in (folder / PAGES if own else folder).rglob("*")
        if path.suffix.lower() in KINDS and path.is_file() and not any(map(is_litter, path.relative_to(folder).parts))
    )


def read_page(path: Path, folder: Path) -> Page:
    """Read one page below `folder`; its source is the path from there.

    Raises:
        BadInput: it can't be read, is too large, is no text of its kind, or has no text.
    """
    title, day, text = _READERS[path.suffix.lower()](path, content_of(path, MAX_BYTES))
    text = normal(CONTROL.sub("", "\n".join(text.splitlines())))  # a PDF's text has some, and HTML can name them
    if not text:
        scanned = " It may be scanned; a program for text recognition makes text of it." * (path.suffix.lower() in PDF)
        raise BadInput(f"{path} has no text. Leave it out.{scanned}")
    source = typed(path.relative_to(folder).as_posix())
    if unreadable(source):
        raise BadInput(f"The name of {shown(source)} has characters that can't be shown. Rename the file.")
    return Page(source, one_line(title)[:MAX_TITLE], _day(day) or _day(path.name), text)


def text_of(path: Path, content: bytes) -> str:
    """A text file's text.

    Raises:
        BadInput: it is no text, no UTF-8, or has a control character; by line.
    """
    refuse_binary(path, content)
    text = decoded(path, content)
    lines = "\n".join(text.splitlines())  # as long: a form feed ends a line, too, but no editor counts it
    if found := CONTROL.search(lines):
        line = text.count("\n", 0, found.start()) + 1
        raise BadInput(f"{path}, line {line}: this has a control character (U+{ord(found[0]):04X}). Remove it.")
    return lines


def without_front_matter(text: str) -> tuple[dict[str, str], str]:
    """What stands above a Markdown text between lines of dashes (title, date), and the text without it."""
    front = FRONT_MATTER.match(text)
    if not front:
        return {}, text
    fields = {name.lower(): value.strip(QUOTES) for name, value in FIELD.findall(front[1])}
    return fields, text[front.end() :]


def _markdown(path: Path, content: bytes) -> tuple[str, str, str]:
    fields, text = without_front_matter(text_of(path, content))
    return fields.get("title", ""), fields.get("date", ""), text


def _plain(path: Path, content: bytes) -> tuple[str, str, str]:
    return "", "", text_of(path, content)


def _html(path: Path, content: bytes) -> tuple[str, str, str]:
    from bs4 import BeautifulSoup
    from markdownify import ATX, MarkdownConverter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a text that looks like an address
        soup = BeautifulSoup(text_of(path, content), "html.parser")
    title = soup.title.get_text() if soup.title else ""
    named = {str(tag.get("property") or tag.get("name")).lower(): str(tag.get("content")) for tag in soup("meta")}
    day = next((named[name] for name in DATED if name in named), "")
    for tag in soup(BESIDE):
        if not tag.decomposed and not (tag.name == "header" and tag.find("h1")):  # one may lie in another
            tag.decompose()
    articles = soup("article")
    main = soup.find("main") or (articles[0] if len(articles) == 1 else None) or soup.find("body") or soup
    if first := main.find("h1"):
        title = first.get_text()  # a site's name often stands behind the page's in <title>
    try:
        text = MarkdownConverter(heading_style=ATX, strip=["a", "img"], escape_misc=False).convert_soup(main)
    except RecursionError as error:
        raise BadInput(f"{path} has elements within elements, too many to be read. Save its text alone.") from error
    return title, day, text


def _pdf(path: Path, content: bytes) -> tuple[str, str, str]:
    from pypdf import PdfReader

    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted:
            raise BadInput(f"{path} is locked with a password. Save it without one.")
        text = "\n\n".join(page.extract_text() for page in reader.pages)
        about = reader.metadata
        made = about.creation_date if about else None
        title = str(about.title or "") if about else ""
    except BadInput:
        raise
    except Exception as error:  # whatever a reader stumbles over in a stranger's file
        reason = shown(str(error))
        raise BadInput(f"{path} is no PDF that can be read ({reason}). Save it anew, or leave it out.") from error
    return title, made.date().isoformat() if isinstance(made, datetime) else "", LEFT_OPEN.sub("", text)


def _day(text: str) -> str:
    """The first date in a text that is one, as YYYY-MM-DD; "" if there is none."""
    for year, month, day in DAY.findall(text):
        try:
            return date(int(year), int(month), int(day)).isoformat()
        except ValueError:
            continue
    return ""


_READERS: dict[str, Callable[[Path, bytes], tuple[str, str, str]]] = {
    **dict.fromkeys(MARKDOWN, _markdown),
    **dict.fromkeys(TEXT, _plain),
    **dict.fromkeys(HTML, _html),
    **dict.fromkeys(PDF, _pdf),
}
