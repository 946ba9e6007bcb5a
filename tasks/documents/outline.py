"""The outline of a Markdown text: what stands under which headings, as plain text without marks.

Parsed by markdown-it. Four kinds of blocks are told apart, as different things can be learnt from them: a paragraph, a
list, a table, and code, from which nothing is.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

# indented text is text: of a PDF, or of a plain file, it is no code
PARSER = MarkdownIt("commonmark").enable("table").disable("code")
HEADING, LISTS = "heading", ("bullet_list", "ordered_list")
CODE = ("fence", "code_block")
NUMBER = re.compile(r"^(?:\d+(?:\.\d+)*\.|\d+(?:\.\d+)+|\d+\))\s+(?=\S)")  # of a heading: "2.1 Prices"
BREAKS = {"softbreak": "\n", "hardbreak": "\n"}


class Block(NamedTuple):
    """A paragraph (one line, or several), the items of a list, or a table's rows with its header first; code is text
    that nothing is made from."""

    kind: str  # "paragraph", "list", "table", "code"
    lines: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()

    @property
    def text(self) -> str:
        return "\n".join([*self.lines, *(" | ".join(row) for row in self.rows)])


class Section(NamedTuple):
    """What stands under a heading, up to the next. path: the headings above it, from the title down."""

    path: tuple[str, ...]
    blocks: list[Block]


def outline_of(text: str, title: str = "") -> list[Section]:
    """The sections of a text, in order; one without headings has one. A title that the text does not begin with stands
    above all headings."""
    path: dict[int, str] = {0: title} if title else {}
    sections: list[Section] = []
    blocks: list[Block] = []
    try:
        found = list(_blocks(SyntaxTreeNode(PARSER.parse(text))))
    except RecursionError:  # marks within marks: no outline, but a text
        found = [(0, Block("paragraph", tuple(_lines(text))))]
    for level, block in found:
        if not level:
            blocks += [block] if block.text.strip() else []
            continue
        sections.append(Section(_headings(path), blocks))
        blocks, path = [], {above: each for above, each in path.items() if above < level} | {level: block.text}
    sections.append(Section(_headings(path), blocks))
    return [section for section in sections if section.blocks]


def _headings(path: dict[int, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, path.values())))  # a title is often repeated as the first heading


def _blocks(node: SyntaxTreeNode) -> Iterator[tuple[int, Block]]:
    """Headings with their level, other blocks with 0; of a quotation what is quoted."""
    for child in node.children:
        if child.type == HEADING:
            yield int(child.tag[1:]), Block("paragraph", (NUMBER.sub("", " ".join(_inline(child).split())),))
        elif child.type in LISTS:
            yield 0, Block("list", tuple(_items(child)))
        elif child.type == "table":
            rows = [tuple(_inline(cell) for cell in row.children) for row in child.walk() if row.type == "tr"]
            yield 0, Block("table", rows=tuple(rows))
        elif child.type in CODE:
            yield 0, Block("code", (child.content.rstrip("\n"),))
        elif child.type == "html_block":
            yield 0, Block("paragraph", tuple(_lines(BeautifulSoup(child.content, "html.parser").get_text())))
        elif child.type == "paragraph":
            yield 0, Block("paragraph", tuple(_lines(_inline(child))))
        elif child.children:
            yield from _blocks(child)


def _items(node: SyntaxTreeNode) -> Iterator[str]:
    """The items of a list, those of lists within it behind the item that they stand under."""
    for item in node.children:
        own = [child for child in item.children if child.type not in LISTS]
        if text := " ".join(" ".join(_inline(child).split()) for child in own):
            yield text
        for child in item.children:
            if child.type in LISTS:
                yield from _items(child)


def _inline(node: SyntaxTreeNode) -> str:
    """The text of a block without its marks; of a picture nothing, of a link what is shown."""
    if node.type in BREAKS:
        return BREAKS[node.type]
    if node.type in ("html_inline", "image"):
        return ""
    if node.type in ("text", "code_inline", "text_special"):
        return node.content
    return "".join(map(_inline, node.children))


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.split("\n") if line.strip()]
