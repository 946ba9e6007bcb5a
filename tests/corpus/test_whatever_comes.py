"""Nothing that `perennial add` accepts fails later for what is in it."""

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.corpus.check import check_slice
from tasks.corpus.raw import FILES, RELATIONS, read_raw
from tasks.corpus.slices import history
from tasks.corpus.text import normal
from tasks.dataset import dataset
from tasks.lm.template import ANSWER_MARKER, ANSWER_START
from tasks.origin import origin
from tasks.pairs import pairs
from tasks.params import Dataset, Pairs

SETTINGS = Dataset(languages=("en", "ko"), chat_repeats=2)
PAIRS = Pairs(synonyms=(("home", "Ｈｏｕｓｅ"),), max_rows=50)
PIECES = [
    *"\ufeff\u00a0\u200b\u200c\u200d\u2028\u3000\u3164\ufe0f\x00\x1b\x85\ud83d\n\r\t\"'\\,:;[]{}|#&*!%@`~-<>()",
    *("{subject}", "{object}", "{}", ANSWER_START, ANSWER_MARKER, "<|endoftext|>", "[key: value] ", "</s>"),
    *("NA", "null", "no", "1e999", "capital", "home", "ＨＯＭＥ", "대한민국", "서울", "é", "e\u0301", "ß", "İ", "🙂", "../x"),
]
TEXT = st.lists(st.sampled_from(PIECES) | st.characters() | st.text("abc ", max_size=4), max_size=6).map("".join)
VALUE = TEXT | st.none() | st.integers() | st.floats() | st.lists(TEXT, max_size=2)
NAME = TEXT.map(lambda name: name.replace("/", "").replace("\0", "")).filter(lambda name: name not in ("", ".", ".."))
LINES = {
    "facts.csv": st.tuples(TEXT, TEXT, TEXT).map(",".join) | st.tuples(TEXT, TEXT, TEXT).map(
        lambda row: ",".join('"' + field.replace('"', '""') + '"' for field in row)
    ),
    "memories.txt": st.tuples(TEXT, TEXT, TEXT).map(lambda row: f"[{row[0]}: {row[1]}] {row[2]}"),
    "chat.jsonl": st.fixed_dictionaries({"input": VALUE, "output": VALUE}).map(json.dumps),
    "examples.jsonl": st.fixed_dictionaries(
        {"input": VALUE, "target": VALUE, "split": st.sampled_from(["train", "test"])}
    ).map(json.dumps),
    "texts.jsonl": st.fixed_dictionaries({"text": VALUE, "date": TEXT}).map(json.dumps),
}  # fmt: skip
WORDING = {
    "questions": [f"{{subject}} {number}?" for number in range(6)],
    "paraphrase": "And {subject}?",
    "statements": [f"{number}: {{subject}} {{object}}" for number in range(4)],
}
TEMPLATES = st.fixed_dictionaries(
    {
        "names": st.dictionaries(TEXT, TEXT, max_size=3),
        "relations": st.dictionaries(TEXT, st.dictionaries(TEXT | st.just("ko"), st.just(WORDING), max_size=2), max_size=2),
    }
).map(json.dumps)  # JSON is YAML
CONTENT = {
    **{name: st.lists(lines | TEXT, max_size=3) for name, lines in LINES.items()},
    RELATIONS: st.lists(TEMPLATES | TEXT, min_size=1, max_size=1),
}
ONE_FILE = st.sampled_from(sorted(CONTENT)).flatmap(lambda name: st.tuples(st.just(name), CONTENT[name]))
ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\ufeff"])


def write(folder, files, end):
    folder.mkdir()
    for name, lines in files:
        head = ["subject,relation,object"] if name == "facts.csv" else []
        text = end.join([*head, *lines])
        (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))


def assert_nothing_fails(folder_name, first, second, end):
    """Two slices, one after the other: each is refused with sentences, or goes through the steps."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / os.fsdecode(folder_name.encode("utf-8", "surrogateescape")[:80].rstrip(b"\xc2\xe3"))
        root.mkdir()
        (root / RELATIONS).write_text("names: {대한민국: 한국}\nrelations: {}\n")
        origin(root / RELATIONS, root / "base")
        previous, older = root / "base", []
        for name, files in (("a", first), ("b", second)):
            raw = root / "raw" / name
            raw.parent.mkdir(exist_ok=True)
            write(raw, files, end)
            problems = check_slice(raw, older)
            if problems:
                assert all(str(problem).startswith((*FILES, RELATIONS, str(raw))) for problem in problems)
                continue
            dataset(SETTINGS, raw, previous, root / name)
            pairs(PAIRS, 1, root / name, root / f"pairs-{name}")
            previous, older = root / name, history(root / name)
            for row in older[-1].train:
                assert row["target"] == normal(row["target"]) and ANSWER_MARKER not in row["target"]
            assert read_raw(raw).problems == []


SLICE = st.lists(ONE_FILE, min_size=1, max_size=3)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(NAME.filter(lambda name: "\ud83d" not in name), SLICE, SLICE, ENDS)
def test_what_is_accepted_goes_through_the_steps(folder_name, first, second, end):
    assert_nothing_fails("x" + folder_name, first, second, end)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
@given(NAME.filter(lambda name: "\ud83d" not in name), SLICE, SLICE, ENDS)
def test_what_is_accepted_goes_through_the_steps_many_times(folder_name, first, second, end):
    assert_nothing_fails("x" + folder_name, first, second, end)
