"""Documents are cut so that nothing is lost, what belongs together stays together, and each chunk knows its place."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.corpus.text import normal
from tasks.documents.passages import MAX_BYTES, OVERLAP, SIZE, cut, read_document
from tasks.errors import BadInput

WORDS = ["oslo", "fjord", "서울", "바다", "rain", "coat", "수도는", "lake"]
MARKS = [". ", "! ", "? ", "… ", '." ', "。", "다. "]


def texts_of(text, markdown=False):
    return [chunk for _, chunk in cut(text, markdown)]


@st.composite
def paragraphs(draw):
    """Paragraphs of numbered sentences, so that no two are alike, most of them shorter than a chunk."""
    number = 0
    found = []
    for _ in range(draw(st.integers(1, 5))):
        sentences = []
        for _ in range(draw(st.integers(1, 8))):
            words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=draw(st.sampled_from([5, 20, 90]))))
            sentences.append(" ".join([f"n{number}", *words]) + draw(st.sampled_from(MARKS)))
            number += 1
        found.append(sentences)
    return found


@settings(deadline=None)
@given(paragraphs())
def test_every_sentence_that_fits_is_whole_in_some_chunk_and_every_paragraph_too(told):
    chunks = texts_of("\n\n".join("".join(each).strip() for each in told))
    assert all(0 < len(chunk) <= SIZE for chunk in chunks)
    for sentences in told:
        for sentence in ["".join(sentences), *sentences]:
            if len(sentence.strip()) <= SIZE:
                assert any(sentence.strip() in chunk for chunk in chunks)


@settings(deadline=None)
@given(paragraphs())
def test_a_chunk_begins_with_the_end_of_the_one_before_unless_a_whole_sentence_needs_the_room(told):
    chunks = texts_of("\n\n".join("".join(each).strip() for each in told))
    for before, after in zip(chunks, chunks[1:], strict=False):
        shared = next((n for n in range(OVERLAP, 0, -1) if before.endswith(after[:n].rstrip())), 0)
        assert shared or len(after) > SIZE - OVERLAP


@settings(deadline=None)
@given(st.text(), st.booleans())
def test_of_any_text_whatsoever_no_letter_is_lost_or_made_up(text, markdown):
    text = "\n".join(unicodedata.normalize("NFC", text).splitlines())
    chunks = texts_of(text, markdown)
    assert all(chunk.strip() and len(chunk) <= SIZE for chunk in chunks)
    letters = {each for each in text if each.isalnum()}
    assert {each for chunk in chunks for each in chunk} <= set(text)
    if not markdown:
        assert letters <= {each for chunk in chunks for each in chunk}


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("ab #-`~|*1.\n\t:가。"), max_size=400))
def test_any_mixture_of_markdowns_marks_is_cut(text):
    for heading, chunk in cut(text, markdown=True):
        assert chunk.strip()
        assert "\n" not in heading


def test_put_together_again_the_chunks_of_a_long_paragraph_are_the_paragraph():
    paragraph = " ".join(f"Sentence number {number} stands here." for number in range(60))
    chunks = texts_of(paragraph)
    told = chunks[0]
    for chunk in chunks[1:]:
        shared = max(n for n in range(len(chunk)) if told.endswith(chunk[:n].rstrip()))
        assert OVERLAP / 2 < shared <= OVERLAP
        told = told + " " + chunk[shared:].strip()
    assert told == paragraph


def test_a_sentence_that_is_longer_than_a_chunk_is_cut_between_words_and_overlaps_too():
    sentence = " ".join(f"word{number}" for number in range(200))
    chunks = texts_of(sentence)
    assert all(SIZE - 2 * OVERLAP < len(chunk) <= SIZE for chunk in chunks[:-1])
    assert {word for chunk in chunks for word in chunk.split()} == set(sentence.split())
    for before, after in zip(chunks, chunks[1:], strict=False):
        assert before.split()[-1] in after.split()[:10]


def test_letters_without_any_space_are_cut_and_overlap():
    chunks = texts_of("가" * 1000)
    assert all(len(chunk) <= SIZE for chunk in chunks)
    assert sum(map(len, chunks)) >= 1000 + (len(chunks) - 1) * OVERLAP


def test_paragraphs_stay_whole_where_they_fit_and_share_a_chunk_where_both_do():
    short = ["One short paragraph.", "Another one. It has two sentences."]
    long = [" ".join([f"Paragraph {name} goes on."] * 9) for name in ("a", "b")]
    chunks = texts_of("\n\n".join(short + long))
    assert chunks[0].startswith("\n\n".join(short))
    assert long[0] in chunks[0] or long[0] in chunks[1]
    assert long[1] in chunks[-1]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It rains. Take a coat! Why? Because.", ["It rains.", "Take a coat!", "Why?", "Because."]),
        ("오슬로는 수도다. 비가 와요! 정말? 네.", ["오슬로는 수도다.", "비가 와요!", "정말?", "네."]),
        ("비가 온다.우산을 챙긴다.", ["비가 온다.", "우산을 챙긴다."]),
        ('He said "go." Then (he left.) The end.', ['He said "go."', "Then (he left.)", "The end."]),
        ("Dr. Kim met J. R. Lee, e.g. in Oslo. Fine.", ["Dr. Kim met J. R. Lee, e.g. in Oslo.", "Fine."]),
        ("It costs 3.50 in v1.2. Really.", ["It costs 3.50 in v1.2.", "Really."]),
        ("下雨了。带伞！好", ["下雨了。", "带伞！", "好"]),
        ("- a coat. warm\n- boots\n2. a map", ["- a coat.", "warm", "- boots", "2. a map"]),
    ],
)
def test_sentences_end_where_a_reader_would_say_so(text, sentences, monkeypatch):
    """Chunks of one sentence each show where the cuts are."""
    monkeypatch.setattr("tasks.documents.passages.SIZE", 1)
    monkeypatch.setattr("tasks.documents.passages.PART", re.compile("(?s).+"))
    assert texts_of(text) == sentences


TRIP = """---
title: Travel
tags: [a, b]
---
# Travel

What to take.

## Norway ##

A coat.
And boots.

### Oslo
The capital.

Bergen
------

It rains.

## Korea
```sh
# this is no heading
echo "a. b"
```
"""


def test_every_chunk_knows_the_headings_above_it():
    assert cut(TRIP, markdown=True) == [
        ("Travel", "What to take."),
        ("Travel > Norway", "A coat.\nAnd boots."),
        ("Travel > Norway > Oslo", "The capital."),
        ("Travel > Bergen", "It rains."),
        ("Travel > Korea", '# this is no heading\necho "a. b"'),
    ]


def test_front_matter_gives_its_title_and_nothing_else():
    assert cut("---\ntitle: 'Home'\ndate: 2024\n---\nText.", markdown=True) == [("Home", "Text.")]
    assert cut("---\ndate: 2024\n---\nText.", markdown=True) == [("", "Text.")]
    assert cut("---\nNo front matter, but a rule.\n\n---\nText.", markdown=True)[0][1].startswith("No front matter")


def test_a_heading_with_nothing_under_it_is_kept_as_text():
    assert cut("# List\n## Milk\n## Eggs\nTen.\n# End", markdown=True) == [
        ("List", "Milk"),
        ("List > Eggs", "Ten."),
        ("", "End"),
    ]


def test_no_chunk_crosses_a_heading():
    text = "".join(f"# Part {part}\n\n{f'Only in part {part}. ' * 40}\n\n" for part in range(4))
    for heading, chunk in cut(text, markdown=True):
        part = heading.removeprefix("Part ")
        assert set(re.findall(r"\d", chunk)) == {part}


def test_code_is_cut_at_the_ends_of_its_lines_and_a_fence_that_is_never_closed_ends_with_the_file():
    lines = [f"value_{number} = compute({number}).  # not a sentence. really" for number in range(20)]
    for end in ("\n```\n", ""):
        chunks = texts_of("```python\n" + "\n".join(lines) + end, markdown=True)
        assert len(chunks) > 1
        for line in lines:
            assert any(line in chunk.split("\n") for chunk in chunks)


def test_what_is_no_heading_and_no_code_stays_as_it_was_written():
    text = "See [the shop][1] and *take* <it>.\n\n[1]: https://shop.example/a\n\n- tea\n\n- milk\n\n|a|b|\n|-|-|\n|1|2|"
    assert cut(f"# Buy\n{text}\n***\n> # Not a heading", markdown=True) == [("Buy", f"{text}\n\n> # Not a heading")]
    long = ("Ten words that are said again and again. " * 3).strip()
    assert cut(f"# {long}\n\nText.", markdown=True) == [("", f"# {long}\n\nText.")]


def test_a_fence_is_closed_by_its_own_marks_alone():
    assert texts_of("````\n```\n# inside\n````\n# Outside\nText.", markdown=True) == ["```\n# inside", "Text."]


def test_in_a_plain_text_nothing_is_markdown():
    assert cut("# one\n\n```\nx\n```", markdown=False) == [("", "# one\n\n```\nx\n```")]


def test_the_same_content_has_the_same_digest_and_other_content_another(tmp_path):
    one, two, three = (tmp_path / name for name in ("a.md", "b.md", "c.md"))
    one.write_text("Hello.\n")
    two.write_bytes(b"\xef\xbb\xbfHello.\r\n")
    three.write_text("Hello!\n")
    assert read_document(one).digest == read_document(two).digest != read_document(three).digest
    assert read_document(one).source == "a.md"


def test_letters_that_are_taken_apart_are_put_together(tmp_path):
    path = tmp_path / unicodedata.normalize("NFD", "메모.txt")
    path.write_text(unicodedata.normalize("NFD", "서울에 산다."), encoding="utf-8")
    assert read_document(path)[::2] == ("메모.txt", [("", "서울에 산다.")])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", r"notes\.md is empty\. Leave it out"),
        (b" \n\t\n", "is empty"),
        (b"---\ntitle: x\n---\n", "is empty"),
        ("caf\u00e9\n\ncaf\u00e9".encode("latin-1"), r"notes\.md, line 1: byte 4 is no UTF-8\. Save the file as UTF-8"),
        (b"good\f\r\n\x1b[2Jbad", r"notes\.md, line 2: this has a control character \(U\+001B\)\. Remove it"),
        (b"good\nbad \xff", "line 2: byte 5 is no UTF-8"),
        ("text".encode("utf-16"), "is UTF-16. Save the file as UTF-8"),
        (b"PK\x03\x04\x00\x00", "is no text file"),
        (b"a" * (MAX_BYTES + 1), "is larger than 2 MiB. Split it"),
    ],
)
def test_a_file_that_can_not_be_learnt_is_named_with_what_to_do(tmp_path, content, expected):
    path = tmp_path / "notes.md"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=expected):
        read_document(path)


def test_a_folder_and_a_file_that_is_not_there_are_named(tmp_path):
    with pytest.raises(BadInput, match=r"is a folder. Name the files in it"):
        read_document(tmp_path)
    with pytest.raises(BadInput, match=r"There is no file .*gone.md"):
        read_document(tmp_path / "gone.md")
    with pytest.raises(BadInput, match=r"can't be read \(File name too long\)"):
        read_document(tmp_path / ("a" * 300))


@pytest.mark.parametrize("name", ["\u200b", "\x1b[2J.md"])
def test_a_file_whose_name_can_not_be_shown_is_refused(tmp_path, name):
    (tmp_path / name).write_text("Hello.")
    with pytest.raises(BadInput, match=r"Rename the file"):
        read_document(tmp_path / name)


def test_a_chunk_is_in_normal_form_wherever_it_is_cut(tmp_path):
    (tmp_path / "a.md").write_text("\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}\n" * 3 + "\N{MAN}\u200d" * 999)
    chunks = read_document(tmp_path / "a.md").chunks
    assert len(chunks) > 4
    assert all(normal(chunk) == chunk for _, chunk in chunks)
