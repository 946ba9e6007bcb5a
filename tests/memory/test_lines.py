"""An export whose checksum is right can still hold what no memory is: every line is named, and nothing imported."""

import hashlib
import json
import unicodedata
from datetime import UTC, datetime

import pytest

from tasks.errors import BadInput
from tasks.memory.store import chunks_of, memories_of, opened, remember
from tasks.memory.transfer import exported, imported

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
HEADER = {"kind": "header", "format": "perennial memories", "version": 1, "user": "ann"}
CHUNK = {"kind": "chunk", "source": "s", "digest": "d", "place": 1, "heading": "", "text": "t",
         "created": "2024-05-06T03:00:00+00:00"}  # fmt: skip
MEMORY = {"kind": "memory", "key": "home town", "value": "Cork", "created": "2024-05-06T03:00:00+00:00",
          "expires": None, "source": "chat", "pinned": False, "replaced": None, "encoder": None,
          "used": None}  # fmt: skip
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture
def take(store, tmp_path):
    """Imports lines, objects or texts, under a checksum that is right."""

    def taken(*lines):
        texts = [line if isinstance(line, (str, bytes)) else json.dumps(line) for line in lines]
        body = b"".join((text if isinstance(text, bytes) else text.encode()) + b"\n" for text in texts)
        end = json.dumps({"kind": "end", "sha256": hashlib.sha256(body).hexdigest()})
        (tmp_path / "m.jsonl").write_bytes(body + end.encode() + b"\n")
        return imported(store, "ann", tmp_path / "m.jsonl", NOON)

    return taken


def without(line, name):
    return {key: value for key, value in line.items() if key != name}


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([HEADER | {"version": 2}], "newer version"),
        ([HEADER | {"version": 0}], "line 1: 'version' is less than 1"),
        ([HEADER | {"version": 1.0}], "line 1: 'version' is no whole number"),
        ([HEADER | {"format": "songs"}], "line 1: 'format' should be 'perennial memories'"),
        ([HEADER | {"user": None}], "line 1: 'user' is no text"),
        ([CHUNK], "line 1: 'kind' is not 'header'"),
        ([HEADER], "holds no memories"),
        ([HEADER, HEADER], "line 2: 'kind' is neither 'memory' nor 'chunk'"),
        ([HEADER, {"kind": []}], "line 2: 'kind' is neither"),
        ([HEADER, CHUNK | {"place": "x"}, CHUNK | {"colour": "red"}],
         r"line 2: 'place' is no whole number\.\n.*line 3: 'colour' is no field"),
        ([HEADER, CHUNK | {"\x1b[2J\ud83d": 1}], r"line 2: '\[2J' is no field"),
        ([HEADER, CHUNK | {"place": 0}], "line 2: 'place' is less than 1"),
        ([HEADER, CHUNK | {"place": 2**63}], "line 2: 'place' is"),
        ([HEADER, CHUNK | {"place": True}], "line 2: 'place' is no whole number"),
        ([HEADER, CHUNK | {"text": " \n"}], "line 2: 'text' is empty"),
        ([HEADER, CHUNK | {"text": "t" * 20_001}], "line 2: 'text' is longer than 20,000 characters"),
        ([HEADER, CHUNK | {"text": "\x1b[2J"}], "line 2: 'text' contains the control character"),
        ([HEADER, CHUNK | {"source": "\u200b"}], "line 2: 'source' is empty"),
        ([HEADER, CHUNK | {"heading": "\ud83d"}], "line 2: 'heading' contains half of a character"),
        ([HEADER, CHUNK, CHUNK], "line 3: passage 1 of 's' stands in line 2 already"),
        ([HEADER, CHUNK, CHUNK | {"place": 2, "digest": "e"}], "line 3: 's' has another 'digest' than in line 2"),
        ([HEADER, without(MEMORY, "value")], "line 2: 'value' is missing"),
        ([HEADER, MEMORY | {"value": None}], "line 2: 'value' is no text"),
        ([HEADER, MEMORY | {"value": 7}], "line 2: 'value' is no text"),
        ([HEADER, MEMORY | {"value": ""}], "line 2: 'value' is empty"),
        ([HEADER, MEMORY | {"value": "v" * 201}], "line 2: 'value' is longer than 200 characters"),
        ([HEADER, MEMORY | {"key": "k" * 61}], "line 2: 'key' is longer than 60 characters"),
        ([HEADER, MEMORY | {"key": "k" * 10**6}], "line 2: 'key' is longer than 60 characters"),
        ([HEADER, MEMORY | {"key": "\ud83d"}], "line 2: 'key' contains half of a character"),
        ([HEADER, MEMORY | {"value": "a\0b"}], "line 2: 'value' contains the control character"),
        ([HEADER, MEMORY | {"value": "(답변 종료)"}], r"line 2: 'value' contains '\(답변 종료\)'"),
        ([HEADER, MEMORY | {"key": "(답변)"}], r"line 2: 'key' contains '\(답변\)'"),
        ([HEADER, MEMORY | {"value": "<|\u200bendoftext|>"}], r"line 2: 'value' contains '<\|endoftext\|>'"),
        ([HEADER, MEMORY | {"pinned": "yes"}], "line 2: 'pinned' is neither true nor false"),
        ([HEADER, MEMORY | {"encoder": 1}], "line 2: 'encoder' is no text"),
        ([HEADER, MEMORY | {"created": 1714964400}], "line 2: 'created' is no date and time"),
        ([HEADER, MEMORY | {"created": "yesterday"}], "line 2: 'created' is no date and time"),
        ([HEADER, MEMORY | {"created": "2024-02-30T12:00:00+00:00"}], "line 2: 'created' is no date and time"),
        ([HEADER, MEMORY | {"created": "2024-05-06T03:00:00"}], "line 2: 'created' has no time zone"),
        ([HEADER, MEMORY | {"created": "2024-05-06"}], "line 2: 'created' has no time zone"),
        ([HEADER, MEMORY | {"key": "tomorrow's plan", "created": "9999-12-31T23:59:59+00:00"}],
         "line 2: 'created' is not in the years 1900 to 9998"),
        ([HEADER, MEMORY | {"used": "0001-01-01T00:00:00+09:00"}], "line 2: 'used' is not in the years"),
        ([HEADER, MEMORY | {"replaced": "9999-12-31T23:59:59-09:00"}], "line 2: 'replaced' is not in the years"),
        ([HEADER, MEMORY | {"expires": "2024-05-06T02:59:59+00:00"}], "line 2: 'expires' is not after 'created'"),
        ([HEADER, MEMORY, MEMORY | {"key": "Home  Ｔown", "value": "Leeds"}],
         "line 3: 'Home Ｔown' has a valid value in line 2 already"),
        ([HEADER, "nothing"], r"line 2: no JSON \(Expecting value at column 1\)"),
        ([HEADER, "[1, 2]"], "line 2: no JSON object"),
        ([HEADER, ""], "line 2: no JSON"),
        ([HEADER, '{"kind": "chunk", "place": NaN}'], "line 2: no JSON"),
        ([HEADER, '{"kind": "chunk", "kind": "memory"}'], "line 2: no JSON .*given twice"),
        ([HEADER, f'{{"kind": "chunk", "text": {DEEP}}}'], "line 2: no JSON that can be read: it is nested too deeply"),
        ([HEADER, json.dumps(CHUNK).replace(": 1", ": " + "9" * 5000)], "line 2: 'place' is no whole number"),
        ([HEADER, b'{"kind": "chunk", "text": "\xff"}'], "line 2: byte 28 is no UTF-8"),
    ],
)  # fmt: skip
def test_lines_that_are_no_rows_are_named_and_nothing_is_imported(take, store, lines, reason):
    with pytest.raises(BadInput, match=reason) as refused:
        take(*lines, *([MEMORY | {"key": "food"}] if len(lines) > 1 else []))
    assert "pydantic" not in str(refused.value) and "line 1 column" not in str(refused.value)
    done = exported(store, "ann")
    assert (done.memories, done.chunks) == (0, 0)


def test_texts_are_brought_into_the_normal_form(take, store):
    apart = unicodedata.normalize("NFD", "고향")
    take(HEADER, MEMORY | {"key": f" {apart}\u200b", "value": "서울\u00a0 강남"},
         CHUNK | {"text": f"{apart}\r\n<|endoftext|>", "source": f"{apart}.md"})  # fmt: skip
    assert [(memory.key, memory.value) for memory in memories_of(store, "ann")] == [("고향", "서울 강남")]
    assert [(chunk.source, chunk.text) for chunk in chunks_of(store, "ann")] == [("고향.md", "고향\n<|endoftext|>")]


def test_the_passages_of_a_document_need_not_stand_together(take, store):
    take(HEADER, CHUNK, CHUNK | {"source": "other"}, CHUNK | {"place": 2, "text": "u"})
    assert [(chunk.source, chunk.text) for chunk in chunks_of(store, "ann")] == [("s", "t"), ("s", "u"), ("other", "t")]


def test_a_bad_import_leaves_what_was_there(take, store, tmp_path):
    remember(store, "ann", "home town", "Leeds", NOON)
    before = exported(store, "ann")
    with pytest.raises(BadInput, match="Nothing is imported"):
        take(HEADER, MEMORY, MEMORY | {"key": "food", "value": None})
    with opened(tmp_path / "memories.db") as again:
        assert exported(again, "ann") == before
