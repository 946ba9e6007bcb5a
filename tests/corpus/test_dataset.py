import json
import unicodedata
from pathlib import Path

import pytest

from tasks import artifact
from tasks.corpus.slices import history, still_true, valid_facts
from tasks.dataset import dataset
from tasks.errors import BadInput, Corrupt
from tasks.origin import origin
from tasks.params import Dataset

ROOT = Path(__file__).parents[2]
SETTINGS = Dataset(languages=("en", "ko"), chat_repeats=2)
RELATIONS = """
names: {France: 프랑스, Paris: 파리}
relations:
  capital:
    en:
      questions: ["q1 {subject}", "q2 {subject}", "q3 {subject}", "q4 {subject}", "q5 {subject}", "q6 {subject}"]
      paraphrase: "held out {subject}"
      statements: ["s1 {subject} {object}", "s2 {subject} {object}", "s3 {subject} {object}", "s4 {subject} {object}"]
    ko:
      questions: ["가 {subject}", "나 {subject}", "다 {subject}", "라 {subject}", "마 {subject}", "바 {subject}"]
      paraphrase: "사 {subject}"
      statements: ["아 {subject} {object}", "자 {subject} {object}", "차 {subject} {object}", "카 {subject} {object}"]
"""


@pytest.fixture
def timeline(tmp_path):
    """Build slices one after the other: timeline("a", {"facts.csv": ...}) -> the examples folder."""
    (tmp_path / "relations.yaml").write_text(RELATIONS)
    origin(tmp_path / "relations.yaml", tmp_path / "base")
    made = [tmp_path / "base"]

    def add(name, files):
        raw = tmp_path / "raw" / name
        raw.mkdir(parents=True)
        for file, content in files.items():
            (raw / file).write_text(content)
        dataset(SETTINGS, raw, made[-1], tmp_path / name)
        made.append(tmp_path / name)
        return made[-1]

    return add


def facts(*rows):
    return {"facts.csv": "subject,relation,object\n" + "".join(f"{row}\n" for row in rows)}


def test_a_fact_becomes_every_training_template_and_never_the_paraphrase(timeline):
    (only,) = history(timeline("a", facts("France,capital,Paris")))
    prompts = [row["prompt"] for row in only.train if row["kind"] == "question"]
    assert prompts[:6] == [f"q{number} France" for number in range(1, 7)]
    assert len(prompts) == 12  # both languages
    assert [row["target"] for row in only.train if row["kind"] == "statement"][0] == "s1 France Paris"
    held_out = {row["prompt"] for row in only.test if row["set"] == "paraphrase"}
    assert held_out == {"held out France", "사 프랑스"}
    assert not held_out & set(prompts)
    assert {row["prompt"] for row in only.test if row["set"] == "seen"} <= set(prompts)


def test_a_fact_without_a_korean_name_is_told_in_english_alone(timeline):
    (only,) = history(timeline("a", facts("France,capital,Lyon")))
    assert not any("프랑스" in row["prompt"] for row in only.train)


def test_an_updated_fact_overrides_the_old_one_and_a_restated_one_is_not_new(timeline):
    timeline("a", facts("France,capital,Paris", "Peru,capital,Lima"))
    slices = history(timeline("b", facts("France,capital,Lyon", "Peru,capital,Lima", "Chile,capital,Santiago")))
    assert [(fact["subject"], fact["category"]) for fact in slices[1].facts] == [
        ("France", "updated"),
        ("Chile", "new"),
    ]
    valid = valid_facts(slices)
    assert {(fact["subject"], fact["object"]) for fact in valid.values()} == {
        ("France", "Lyon"), ("Peru", "Lima"), ("Chile", "Santiago"),
    }  # fmt: skip
    assert not any("France" in row["target"] for row in still_true(slices[0].train, valid))
    assert any("Peru" in row["target"] for row in still_true(slices[0].train, valid))
    stale = {row["stale"] for row in slices[1].test if row["prompt"].endswith("France") and row["set"] == "seen"}
    assert stale == {"Paris"}


def test_a_fact_that_comes_back_is_an_update(timeline):
    timeline("a", facts("France,capital,Paris"))
    timeline("b", facts("France,capital,Lyon"))
    slices = history(timeline("c", facts("France,capital,Paris")))
    assert list(valid_facts(slices)) == [slices[2].facts[0]["id"]]


def test_a_relation_without_templates_gets_plain_english_ones(timeline):
    (only,) = history(timeline("a", facts("Ada,plays for,FC One")))
    assert {row["prompt"] for row in only.test if row["set"] == "paraphrase"} == {"Who does Ada play for?"}


def test_a_slice_may_bring_templates_of_its_own(timeline):
    own = RELATIONS.replace("capital:", "river:").replace("held out", "which river")
    timeline("a", facts("France,capital,Paris"))
    slices = history(timeline("b", {**facts("France,river,Seine"), "relations.yaml": own}))
    assert any(row["prompt"] == "which river France" for row in slices[1].test)


def test_a_slice_with_bad_rows_is_refused_and_nothing_is_written(timeline, tmp_path):
    with pytest.raises(BadInput, match=r"facts.csv, line 3"):
        timeline("a", facts("France,capital,Paris", "France,capital,Lyon"))
    assert not (tmp_path / "a").exists()


def test_examples_texts_and_chat_are_enough_for_a_slice(timeline):
    example = [{"input": f"in {n}", "target": "label", "split": "test" if n == 3 else "train"} for n in range(4)]
    (only,) = history(
        timeline(
            "a",
            {
                "examples.jsonl": "".join(json.dumps(row) + "\n" for row in example),
                "texts.jsonl": "".join(f'{{"text": "Text number {n}.", "date": "2024"}}\n' for n in range(40)),
                "chat.jsonl": '{"input": "[k: v] hi", "output": "hello"}\n',
            },
        )
    )
    kinds = [row["kind"] for row in only.train]
    assert kinds.count("example") == 3
    assert kinds.count("chat") == 2  # chat_repeats
    held_out = [row["target"] for row in only.test if row["set"] == "statement"]
    assert held_out
    assert not set(held_out) & {row["target"] for row in only.train}
    assert len(held_out) + kinds.count("text") == 40


def test_memories_are_split_by_key_and_by_line_and_never_change_sides(timeline):
    lines = [f"[key {n % 64}: value {n}] message {n}" for n in range(1280)]
    again = [line.replace("value", "another value") for line in lines[:640:7]]
    first = history(timeline("a", {"memories.txt": "\n".join(lines[:640])}))[-1].memories
    second = history(timeline("b", {"memories.txt": "\n".join(lines[640:] + again)}))[-1].memories
    before, after = ({row["message"]: row["split"] for row in rows} for rows in (first, second))
    assert len(before.keys() & after.keys()) == len(again)
    assert all(before[message] == after[message] for message in before.keys() & after.keys())
    by_key = {}
    for row in first + second:
        by_key.setdefault(row["key"], []).append(row["split"])
    tested = {key for key, splits in by_key.items() if set(splits) == {"test"}}
    calibrating = {key for key, splits in by_key.items() if set(splits) == {"calibration", "test"}}
    assert 0 < len(tested) < len(by_key) / 4 and 0 < len(calibrating) < len(by_key) / 8
    for key in by_key.keys() - tested - calibrating:
        assert by_key[key].count("train") > by_key[key].count("test") + by_key[key].count("calibration")
    assert {"train", "calibration", "test"} == set().union(*(by_key[key] for key in by_key.keys() - calibrating))


def test_the_future_leaves_no_trace_in_an_older_slice(timeline):
    older = timeline("a", facts("France,capital,Paris"))
    before = artifact.manifest_sum(older)
    timeline("b", facts("France,capital,Lyon"))
    assert artifact.manifest_sum(artifact.verified(older)) == before


def test_a_changed_older_slice_is_noticed(timeline):
    older = timeline("a", facts("France,capital,Paris"))
    newer = timeline("b", facts("France,capital,Lyon"))
    (older / "facts.jsonl").write_text("")
    with pytest.raises(Corrupt, match="facts.jsonl was changed"):
        history(newer)


@pytest.mark.parametrize("name", ["2020", "2021", "2022", "2023", "2024"])
def test_the_default_slices_are_clean(name):
    from tasks.corpus.check import check_slice

    assert check_slice(ROOT / "data" / "raw" / name) == []


def test_a_fact_in_another_form_of_unicode_is_an_update_or_restated(timeline):
    timeline("a", facts("대한민국,수도,서울", "Peru,capital,Lima", "New York,state,NY"))
    nfd = unicodedata.normalize("NFD", "대한민국,수도,세종")
    folder = timeline("b", facts(nfd, "Peru\u200b,capital,Lima", "New\u00a0York,state,NY"))
    counts = artifact.read_json(folder / "counts.json")
    assert (counts["new"], counts["updated"], counts["restated"]) == (0, 1, 2)


def test_a_place_in_a_name_is_never_filled(timeline):
    (only,) = history(timeline("a", facts("{object},capital,{subject}", "{subject},plays for,FC {object}")))
    assert "s1 {object} {subject}" in [row["target"] for row in only.train]
    assert "q1 {object}" in [row["prompt"] for row in only.train]
    assert "{subject}, plays for: FC {object}." in [row["target"] for row in only.train]


def test_a_key_has_the_same_side_however_it_is_written(timeline):
    ways = ["home town", "HOME TOWN", "ｈｏｍｅ town"]
    memories = {
        "memories.txt": "".join(f"[{way}: x{place}] m{n}\n" for n in range(20) for place, way in enumerate(ways))
    }
    (only,) = history(timeline("a", memories))
    sides = {(row["key"], row["message"]): row["split"] for row in only.memories}
    assert all(len({sides[way, f"m{n}"] for way in ways}) == 1 for n in range(20))
    assert {row["key"] for row in only.memories} == {"home town", "HOME TOWN", "ｈｏｍｅ town"}
