"""Nothing that `perennial add` accepts fails later for what is in it.

Of files made of whatever comes, the rows that the check names are taken out, as a user would; the rest must go through.
"""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tasks import artifact
from tasks.corpus.check import check_slice
from tasks.corpus.examples import examples_of, problems_of_rows
from tasks.corpus.raw import FILES, RELATIONS, read_raw
from tasks.corpus.slices import history, templates_until
from tasks.corpus.templates import Templates
from tasks.corpus.text import ANSWER_MARKER, ANSWER_START, normal
from tasks.dataset import dataset
from tasks.origin import origin
from tasks.pairs import pairs
from tasks.params import Dataset, Pairs

SETTINGS = Dataset(languages=("en", "ko"), chat_repeats=2)
PAIRS = Pairs(synonyms=(("home", "Ｈｏｕｓｅ"),), max_rows=50)
PIECES = [
    *("\u2011", "\ufffe", ANSWER_MARKER.replace(" ", "  "), ' "a" '),
    *"\ufeff\u00a0\u200b\u200c\u200d\u2028\u3000\u3164\ufe0f\x00\x1b\x85\ud83d\n\r\t\"'\\,:;[]{}|#&*!%@`~-<>()",
    *("{subject}", "{object}", "{}", ANSWER_START, ANSWER_MARKER, "<|endoftext|>", "[key: value] ", "</s>"),
    *(
        "NA",
        "null",
        "no",
        "1e999",
        "capital",
        "home",
        "ＨＯＭＥ",
        "대한민국",
        "서울",
        "é",
        "e\u0301",
        "ß",
        "İ",
        "🙂",
        "../x",
    ),
]
TEXT = st.lists(st.sampled_from(PIECES) | st.characters() | st.text("abc ", min_size=1, max_size=4), min_size=1,
                max_size=4).map("".join)  # fmt: skip
VALUE = TEXT | TEXT | TEXT | st.none() | st.integers() | st.floats() | st.lists(TEXT, max_size=2)
NAME = TEXT.map(lambda name: "x" + "".join(each for each in name if each not in "/\0\ud83d")[:50]).filter(
    lambda name: name.encode("utf-8", "ignore").decode() == name
)
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
        "relations": st.dictionaries(
            TEXT, st.dictionaries(TEXT | st.just("ko"), st.just(WORDING), max_size=2), max_size=2
        ),
    }
).map(json.dumps)  # JSON is YAML
CONTENT = {
    **{name: st.lists(lines | lines | lines | TEXT, min_size=2, max_size=4) for name, lines in LINES.items()},
    RELATIONS: st.lists(TEMPLATES | TEXT, min_size=1, max_size=1),
}
ONE_FILE = st.sampled_from(sorted(CONTENT)).flatmap(lambda name: st.tuples(st.just(name), CONTENT[name]))
ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\ufeff"])


def write(folder, files, end):
    folder.mkdir(parents=True)
    for name, lines in files:
        head = ["subject,relation,object"] if name == "facts.csv" else []
        (folder / name).write_bytes(end.join([*head, *lines]).encode("utf-8", "surrogatepass"))


def problems_of(folder, before):
    """What `perennial add` says is wrong."""
    older = history(before)
    if problems := check_slice(folder, older):
        return problems
    raw = read_raw(folder)
    templates = templates_until(before).extended_by(raw.templates or Templates())
    return problems_of_rows(examples_of(folder.name, raw, older, templates, SETTINGS)[0], older)


def mended(folder, before):
    """Take out what the check names until it names nothing; whether a row is left."""
    while problems := problems_of(folder, before):
        if not any((folder / name).exists() for name in FILES):
            return False
        for name in {problem.file for problem in problems}:
            assert name in (*FILES, RELATIONS)
            bad = {problem.line for problem in problems if problem.file == name}
            path = folder / name
            lines = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            left = [line for number, line in enumerate(lines, start=1) if number not in bad]
            path.unlink() if 0 in bad or name == RELATIONS else path.write_bytes(b"\n".join(left))
    return True


def through_the_steps(place, folder_name, slices, end):
    """How many of the slices, one after the other, were accepted; all of them went through dataset and pairs."""
    root = Path(place) / folder_name
    root.mkdir()
    (root / RELATIONS).write_text("names: {대한민국: 한국}\nrelations: {}\n", encoding="utf-8")
    origin(root / RELATIONS, root / "base")
    accepted = [root / "base"]
    for number, files in enumerate(slices):
        raw, out = root / "raw" / str(number), root / str(number)
        write(raw, files, end)
        if not mended(raw, accepted[-1]):
            continue
        dataset(SETTINGS, raw, accepted[-1], out)
        pairs(PAIRS, 1, out, root / f"pairs-{number}")
        accepted.append(out)
        for row in history(out)[-1].train:
            assert row["target"] == normal(row["target"]) and ANSWER_MARKER not in row["target"]
    return len(accepted) - 1


def assert_nothing_fails(examples):
    accepted = 0

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(NAME, SLICE, SLICE, ENDS)
    @example("x", *UNTOLD, "\n")
    def try_out(folder_name, first, second, end):
        nonlocal accepted
        with tempfile.TemporaryDirectory() as place:
            accepted += through_the_steps(place, folder_name, (first, second), end)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(artifact, "_flush", lambda path: None)  # no disk is waited for
        try_out()
    assert accepted > examples / 10  # or it would prove nothing


SLICE = st.lists(ONE_FILE, min_size=1, max_size=3)
UNTOLD = (  # a relation that can be told in no language
    [("chat.jsonl", [json.dumps({"input": "hi", "output": "hello"})])],
    [("facts.csv", ["a,b,c", "d,e,f"]), (RELATIONS, [json.dumps({"relations": {"b": {}}})])],
)


def test_what_is_accepted_goes_through_the_steps():
    assert_nothing_fails(60)


@pytest.mark.slow
def test_what_is_accepted_goes_through_the_steps_many_times():
    assert_nothing_fails(5000)
