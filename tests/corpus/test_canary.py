"""The canary comes from two files of JSON lines; what is wrong with them is told by line."""

from pathlib import Path

import pytest

from tasks.corpus.canary import read_canary
from tasks.corpus.raw import read_raw
from tasks.errors import BadInput

PROJECT = Path(__file__).parents[2]
FACT = '{"fact": "Norway, capital", "input": "What is the capital of Norway?", "target": "Oslo"}\n'


def test_facts_and_prompts_are_read_in_the_normal_form(tmp_path):
    (tmp_path / "facts.jsonl").write_text(f"\n{FACT}".replace("Oslo", "O\u0301slo"))
    (tmp_path / "chat.jsonl").write_text('{"input": "My\u00a0password?"}\n')
    found = read_canary(tmp_path)
    assert found.facts == [{"fact": "Norway, capital", "prompt": "What is the capital of Norway?", "target": "Óslo"}]
    assert found.chat == ["My password?"]


def test_one_file_is_enough_and_none_is_no_canary(tmp_path):
    assert read_canary(tmp_path / "nowhere") is None
    (tmp_path / ".gitkeep").touch()
    assert read_canary(tmp_path) is None
    (tmp_path / "facts.jsonl").write_text(FACT)
    before = read_canary(tmp_path)
    assert (len(before.facts), before.chat) == (1, [])
    (tmp_path / "facts.jsonl").write_text(FACT.replace("Oslo", "Bergen"))
    assert read_canary(tmp_path).digest != before.digest


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("fact.jsonl", FACT, r"fact\.jsonl: unknown file\. The canary is facts\.jsonl and chat\.jsonl: rename it"),
        ("facts.jsonl", "\n", r"facts\.jsonl has no rows\. Fill it, or delete it"),
        ("facts.jsonl", FACT + FACT, r"facts\.jsonl, line 2: the input of line 1 once more"),
        ("facts.jsonl", "{", r"facts\.jsonl, line 1: no JSON"),
        (
            "facts.jsonl",
            '{"input": "a", "target": "b"}',
            r"line 1: not an object with exactly the keys fact, input, target",
        ),
        ("facts.jsonl", FACT.replace('"Oslo"', "1"), r"line 1: 'target' is no text"),
        ("facts.jsonl", FACT.replace("Oslo", " "), r"line 1: 'target' is empty"),
        ("facts.jsonl", FACT.replace("Oslo", "(답변 종료)"), r"line 1: 'target' of '\(답변 종료\)' contains"),
        (
            "chat.jsonl",
            '{"input": "a", "output": "b"}',
            r"chat\.jsonl, line 1: not an object with exactly the key input",
        ),
        ("chat.jsonl", b"\xff", r"chat\.jsonl, line 1: byte 1 is no UTF-8"),
    ],
)
def test_what_can_not_be_used_is_refused_with_a_sentence(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadInput, match=expected):
        read_canary(tmp_path)


def test_the_canary_that_ships_asks_what_the_oldest_slice_teaches_and_no_other_changes():
    found = read_canary(PROJECT / "data/canary")
    facts = {row["fact"].rpartition(", ")[0] for row in found.facts}
    slices = {
        name: {
            (row["subject"], row["relation"]): row["object"] for _, row in read_raw(PROJECT / "data/raw" / name).facts
        }
        for name in ("2020", "2021", "2022", "2023", "2024")
    }
    taught = {", ".join(fact): fact for fact in slices["2020"]}
    assert facts <= taught.keys()
    assert not [fact for fact in facts for name in slices if name != "2020" and taught[fact] in slices[name]]
    for row in found.facts:
        if row["fact"].endswith(", en"):
            assert row["target"] == slices["2020"][taught[row["fact"].rpartition(", ")[0]]]
    assert {row["fact"].rpartition(", ")[2] for row in found.facts} == {"en", "ko"}
    inputs = {row["input"] for name in slices for _, row in read_raw(PROJECT / "data/raw" / name).chat}
    assert len(found.chat) >= 24 and not inputs & set(found.chat)
    for word in ("password", "비밀번호", "money", "돈"):
        assert any(word in prompt for prompt in found.chat)
