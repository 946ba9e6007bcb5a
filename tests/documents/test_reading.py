"""Pages of four kinds are read as Markdown, with the title and the date that they name; odd ones get a sentence."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.documents.reading import KINDS, Page, pages_in, read_page
from tasks.documents.rules import told_by
from tasks.errors import BadInput

PAGES = Path(__file__).parent / "pages"


def page(tmp_path, name, content):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_page(path, tmp_path)


def pdf_of(*lines, title="Rules", made="D:20250301120000Z"):
    """A PDF of one page, written by hand after ISO 32000-1, 7.5."""
    text = "BT /F1 12 Tf 14 TL 72 700 Td " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(text)} >>\nstream\n{text}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        f"<< /Title ({title}) /CreationDate ({made}) >>",
    ]
    out, places = "%PDF-1.4\n", []
    for number, each in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n{each}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    end += f"trailer << /Size {len(objects) + 1} /Root 1 0 R /Info 6 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return (out + end).encode()


def test_markdown_has_its_front_matters_title_and_date(tmp_path):
    read = page(tmp_path, "sub/a.md", '---\ntitle: "Our rules"\ndate: 2025-03-01\ntags: x\n---\n# Rules\n\nBe kind.\n')
    assert read == Page("sub/a.md", "Our rules", "2025-03-01", "# Rules\n\nBe kind.")


def test_a_text_is_dated_by_its_name_if_by_anything(tmp_path):
    assert page(tmp_path, "2025-02-03-notes.txt", "Hello there.").date == "2025-02-03"
    assert page(tmp_path, "20250203.txt", "Hello there.").date == "2025-02-03"
    assert page(tmp_path, "notes-20259999.txt", "Hello there.").date == ""  # no day


def test_of_html_the_main_part_is_read_without_menus_and_styles():
    read = read_page(PAGES / "getting-there.html", PAGES)
    assert (read.title, read.date) == ("Getting there", "2025-02-14")
    assert "behind the fish market" in read.text and "2 € per hour" in read.text
    assert not any(word in read.text for word in ("Home", "©", "color", "<"))


def test_of_a_pdf_the_text_is_read_and_parted_words_are_joined(tmp_path):
    read = page(tmp_path, "rules.pdf", pdf_of("Dogs are wel-", "come on the lead."))
    assert (read.title, read.date) == ("Rules", "2025-03-01")
    assert "Dogs are welcome on the lead." in " ".join(read.text.split())


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.pdf", b"%PDF-1.4 nothing", "no PDF that can be read"),
        ("a.pdf", pdf_of(), "has no text. Leave it out. It may be scanned"),
        ("a.md", b"\xff\xfea\x00", "UTF-16"),
        ("a.md", b"good\nbad \xff", "line 2: byte 5 is no UTF-8"),
        ("a.html", b"<html><body><nav>menu</nav></body></html>", "has no text"),
        ("a.txt", b"a\0b", "no text file"),
        ("a.txt", b"one\ntwo\x07", "line 2: this has a control character"),
        ("a.md", b"---\ntitle: x\n---\n", "has no text"),
    ],
)
def test_a_page_that_cant_be_used_gets_a_sentence(tmp_path, name, content, reason):
    with pytest.raises(BadInput, match=reason) as caught:
        page(tmp_path, name, content)
    assert str(tmp_path / name) in str(caught.value)


def test_pages_beside_data_must_lie_in_a_folder_of_their_own(tmp_path):
    for name in ("b.md", "sub/a.HTML", "sub/.hidden.md", "pages/c.txt", "picture.png", "old.md~"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert [path.name for path in pages_in(tmp_path)] == ["b.md", "c.txt", "a.HTML"]
    (tmp_path / "memories.txt").write_text("[job: baker] Where do I work?")
    assert [path.name for path in pages_in(tmp_path)] == ["c.txt"]
    assert pages_in(tmp_path / "nowhere") == []


def test_what_a_pdf_or_html_has_of_control_characters_is_left_out(tmp_path):
    assert "Dogs are welcome." in page(tmp_path, "rules.pdf", pdf_of("Dogs\\001 are\\007 welcome.")).text
    nested = "<footer><nav><button>b</button></nav></footer><p>Dogs &#7;are welcome.</p>"
    assert page(tmp_path, "a.html", nested).text == "Dogs are welcome."


def test_pages_in_forms_and_of_several_articles_are_read_whole(tmp_path):
    items = "<article><p>one</p></article><article><p>two</p></article><nav>menu</nav><button>go</button>"
    read = page(tmp_path, "a.html", f"<html><body><form><h1>News</h1>{items}</form></body></html>")
    assert read.text.split() == ["#", "News", "one", "two"]


def test_html_that_is_nested_without_end_is_one_sentence(tmp_path):
    with pytest.raises(BadInput, match="deep.html has elements within elements"):
        page(tmp_path, "deep.html", "<div>" * 3000 + "x")


PIECES = [
    *("# ", "## ", "- ", ": ", "| a | b |\n|---|---|\n", "| c |", "<p>", "</p>", "<!--", "```\n", "\n\n", "\n", "?"),
    *(
        "Ann Lee",
        "was built in",
        "1931",
        "by",
        "is a",
        "£5",
        "Monday",
        "{subject}",
        "가격: ",
        "은 ",
        "입니다",
        "[x](y)",
    ),
    *("\u200b", "**", "<|end|>", "opening hours", "- {object}: x\n"),
]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=40).map(" ".join), st.sampled_from(KINDS[:-1]))
def test_any_text_gives_a_page_that_is_learnt_from_or_a_sentence(tmp_path, text, kind):
    try:
        read = page(tmp_path, f"any{kind}", text.encode(errors="surrogatepass"))
    except BadInput:
        return
    told = told_by([read, read._replace(source="again")])
    assert all(fact.subject and fact.object for fact in told.facts)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 900), st.binary(min_size=1, max_size=6)), min_size=1, max_size=5))
def test_a_damaged_pdf_is_read_or_refused(tmp_path, damage):
    content = bytearray(pdf_of("Dogs are welcome."))
    for place, other in damage:
        content[place : place + len(other)] = other
    try:
        page(tmp_path, "any.pdf", bytes(content))
    except BadInput as error:
        assert "any.pdf" in str(error)
