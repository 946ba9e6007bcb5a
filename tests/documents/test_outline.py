"""The outline has every heading's path, and plain text without marks."""

from tasks.documents.outline import Block, outline_of

TEXT = """# Museum

Intro *with* `code` and a [link](http://x.example) &amp; more
on two lines.

## Rooms <!-- hidden -->

- **Price**: 80
- one
  - two

| a | b |
|---|---|
| 1 | ~~2~~ |

    indented is text

```
code
```

> quoted

### Deep

x

## Empty

## Last
y
"""


def test_sections_have_the_headings_above_them_and_blocks_their_plain_text():
    sections = {section.path: section.blocks for section in outline_of(TEXT)}
    assert list(sections) == [("Museum",), ("Museum", "Rooms"), ("Museum", "Rooms", "Deep"), ("Museum", "Last")]
    assert sections["Museum",] == [Block("paragraph", ("Intro with code and a link & more", "on two lines."))]
    assert sections["Museum", "Rooms"] == [
        Block("list", ("Price: 80", "one", "two")),
        Block("table", rows=(("a", "b"), ("1", "~~2~~"))),
        Block("paragraph", ("indented is text",)),
        Block("code", ("code",)),
        Block("paragraph", ("quoted",)),
    ]


def test_a_title_stands_above_all_headings_once():
    assert [section.path for section in outline_of("# A\nx\n## B\ny", "A")] == [("A",), ("A", "B")]
    assert [section.path for section in outline_of("x", "A")] == [("A",)]
    assert [section.path for section in outline_of("x")] == [()]
    assert outline_of("") == outline_of("# A\n## B\n") == []
