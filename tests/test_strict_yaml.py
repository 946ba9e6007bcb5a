"""Perennial and DVC read one params.yaml, so they must read the same values."""

from pathlib import Path

import pytest
from dvc.utils.serialize import parse_yaml

from tasks.errors import BadInput
from tasks.params import load_params
from tasks.strict_yaml import load_yaml, read_yaml

ROOT = Path(__file__).parents[1]
HERE = Path("p.yaml")
SCALARS = [
    "020",
    "0777",
    "00",
    "-012",
    "0o17",
    "0x1F",
    "0b11",
    "12:30",
    "12:30:45",
    "1e3",
    "1E3",
    "1e-3",
    "1.e5",
    "3.14e+2",
    "1_000",
    ".5",
    "0.",
    ".inf",
    "-.inf",
    ".nan",
    "yes",
    "no",
    "on",
    "off",
    "y",
    "n",
    "Yes",
    "NO",
    "True",
    "TRUE",
    "true",
    "null",
    "Null",
    "~",
    "2020-01-01",
    "'no'",
    '"020"',
    "!!str,5",
]


@pytest.mark.parametrize("scalar", SCALARS)
def test_a_scalar_is_what_dvc_takes_it_for(scalar):
    word = scalar.replace(",", " ")
    text = f"a: {word}\nb:\n- {word}\n"
    ours, theirs = load_yaml(text, HERE), parse_yaml(text, "p.yaml")
    assert repr(ours) == repr(theirs)  # nan is not itself, and 1 is True


@pytest.mark.parametrize(
    ("scalar", "value"), [("020", 20), ("0o17", 15), ("1e3", 1000.0), ("12:30", "12:30"), ("no", "no"), ("yes", "yes")]
)
def test_the_scalars_of_yaml_1_1_are_those_of_1_2(scalar, value):
    assert load_yaml(f"a: {scalar}", HERE) == {"a": value}


def test_norwegian_is_a_language_and_a_seed_with_a_nought_is_decimal(tmp_path):
    text = (ROOT / "params.yaml").read_text()
    text = text.replace("languages: [en, ko]", "languages: [en, no]").replace("seed: 20 ", "seed: 020 ")
    (tmp_path / "params.yaml").write_text(text)
    params = load_params(tmp_path / "params.yaml")
    assert (params.dataset.languages, params.seed) == (("en", "no"), 20)
    assert parse_yaml(text, "params.yaml")["seed"] == 20


@pytest.mark.parametrize("file", ["params.yaml", "data/raw/relations.yaml", "data/raw/topics/en.yaml", "dvc.yaml"])
def test_the_projects_own_files_are_what_dvc_reads(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    assert load_yaml(text, Path(file), max_bytes=1 << 20) == parse_yaml(text, file)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x [1]\nb: *x\n", "p.yaml, line 2: aliases"),
        ("b: 1\na: &x [*x]\n", "p.yaml, line 2: aliases"),
        ("a:\n  2020: {}\n", 'p.yaml, line 2: the key 2020 must be quoted: "2020"'),
        ("a: 1\ntrue: 2\n", 'p.yaml, line 2: the key true must be quoted: "true"'),
        ("? [1, 2]\n: 3\n", "p.yaml, line 1: a key must be a text, not a list"),
        ("a: 1\nb: 2\na: 3\n", 'p.yaml, line 3: key "a" is given twice'),
        ("a: 1\nb: 2020-13-45\n", "p.yaml, line 2: month must be in 1..12"),
        (f"a: 1\nb: {'9' * 5000}\n", "p.yaml, line 2: Exceeds the limit"),
        ("a: 1\nb: [2\n", "p.yaml, line 3: "),
        ("a: 1\n\tb: 2\n", "p.yaml, line 2: "),
        ("a: 1\nb: \x01\n", "p.yaml, line 2: YAML can't hold U+0001. Remove it."),
        ("a: \ufffe\n", "p.yaml, line 1: YAML can't hold U+FFFE"),
        ("a: 1\n---\nb: 2\n", "p.yaml, line 2: but found another document"),
        ("a: !!python/object:os.system {}\n", "p.yaml, line 1: could not determine a constructor"),
        ("[" * 100_000, "p.yaml, line 1: more than 50 lists within lists"),
        ("- " * 100_000, "p.yaml, line 1: more than 50 lists within lists"),
        ("a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n", "p.yaml, line 2: git left the two sides"),
    ],
)
def test_what_is_refused_is_told_by_file_and_line(text, expected):
    with pytest.raises(BadInput) as refused:
        load_yaml(text, HERE)
    assert str(refused.value).startswith(expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "p.yaml is empty: keys and their values are expected in it."),
        (b"\xef\xbb\xbf# a: 1\n", "p.yaml is empty"),
        (b"\n- a\n- b\n", "p.yaml, line 2: keys and their values are expected, not a list."),
        (b"# words\nseed\n", "p.yaml, line 2: keys and their values are expected, not a single value."),
        (b"a: 1\nb: \xe9\n", "p.yaml, line 2: byte 4 is no UTF-8. Save the file as UTF-8."),
        ("a: 1".encode("utf-16"), "p.yaml is UTF-16. Save the file as UTF-8."),
        ("a: 1".encode("utf-16-be"), "p.yaml is UTF-16."),
        ("a: 1".encode("utf-32"), "p.yaml is UTF-32."),
        ("a: 1".encode("utf-32-le"), "p.yaml is UTF-32."),
        (None, "There is no file p.yaml."),
    ],
)
def test_a_file_that_holds_no_keys_gets_a_sentence(tmp_path, monkeypatch, content, expected):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        HERE.write_bytes(content)
    with pytest.raises(BadInput) as refused:
        read_yaml(HERE)
    assert str(refused.value).startswith(expected)


def test_a_byte_order_mark_and_any_line_ends_are_no_part_of_the_keys(tmp_path):
    (tmp_path / "p.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\rc: 3\n")
    assert read_yaml(tmp_path / "p.yaml") == {"a": 1, "b": 2, "c": 3}
