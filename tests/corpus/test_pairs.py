from pathlib import Path

import pandas as pd
import pytest

from tasks import artifact
from tasks.corpus.cartesian import COLUMNS
from tasks.corpus.language import fact_rows, new_facts, split_memories
from tasks.corpus.slices import Examples
from tasks.corpus.templates import Templates, read_templates
from tasks.pairs import MAX_QUESTIONS, SPLITS, pairs
from tasks.params import Pairs

RELATIONS = Path(__file__).parents[2] / "data/raw/relations.yaml"
SETTINGS = Pairs(synonyms=(("a", "z"),), max_rows=100)
PLAIN = Templates()
WHOLE = SETTINGS.model_copy(update={"max_rows": 10**6})


def save(folder, previous, memories=(), facts=(), test=()):
    with artifact.writing(folder) as partial:
        Examples(memories=list(memories), facts=list(facts), test=list(test)).save(partial, previous)
    return folder


def rows(*lines):
    return [dict(zip(("key", "value", "message", "split"), line, strict=True)) for line in lines]


def table(folder, split):
    return pd.read_csv(folder / f"{split}.csv", keep_default_na=False)


@pytest.fixture
def base(tmp_path):
    return save(tmp_path / "base", None)


def test_pairs_join_all_slices_so_far_and_never_lines_of_two_sides(base, tmp_path):
    one = save(tmp_path / "2020", base, rows(("a", "NA", "first?", "train"), ("a", "2", "second?", "test")))
    brought = rows(("b", "3", "null", "train"), ("b", "4", "fourth?", "test"), ("c", "5", "fifth?", "calibration"))
    pairs(SETTINGS, 1, save(tmp_path / "2021", one, brought), tmp_path / "pairs")

    train, test = (table(tmp_path / "pairs", split) for split in ("train", "test"))
    assert tuple(train.columns) == tuple(test.columns) == COLUMNS
    assert set(train.memory_0) == set(train.memory_1) == {"[a: NA]", "[b: 3]"}
    assert set(train.user_prompt_1) == {"first?", "null"}
    assert set(test.memory_0) == {"[a: 2]", "[b: 4]"} and len(train) == len(test) == 4
    assert artifact.read_json(tmp_path / "pairs/lines.json") == {
        "train": [["a", "NA", "first?", "2020"], ["b", "3", "null", "2021"]],
        "calibration": [["c", "5", "fifth?", "2021"]],
        "test": [["a", "2", "second?", "2020"], ["b", "4", "fourth?", "2021"]],
        "synonyms": [["a", "z"]],
    }


def test_a_line_that_two_slices_bring_counts_once_and_is_the_older_ones(base, tmp_path):
    same = rows(("a", "1", "again?", "train"))
    one = save(tmp_path / "2020", base, same)
    pairs(SETTINGS, 1, save(tmp_path / "2021", one, same), tmp_path / "pairs")
    assert artifact.read_json(tmp_path / "pairs/lines.json")["train"] == [["a", "1", "again?", "2020"]]
    assert len(table(tmp_path / "pairs", "train")) == 1


def test_the_sides_share_no_line_and_what_is_held_out_as_a_key_meets_no_training(base, tmp_path):
    lines = [(n, {"key": f"key {n % 60}", "value": f"{n}", "message": f"message {n}?"}) for n in range(600)]
    brought = split_memories(lines)
    one = save(tmp_path / "2020", base, brought[:300])
    pairs(WHOLE, 1, save(tmp_path / "2021", one, brought[300:]), tmp_path / "pairs")

    made = artifact.read_json(tmp_path / "pairs/lines.json")
    told = [tuple(line) for split in SPLITS for line in made[split]]
    assert len(told) == len(set(told)) == len(lines)
    of_keys = {key: {row["split"] for row in brought if row["key"] == key} for key in {row["key"] for row in brought}}
    whole = {key for key, sides in of_keys.items() if "train" not in sides}
    assert whole
    train, test = (table(tmp_path / "pairs", split) for split in ("train", "test"))
    trained = {text[1:].split(":")[0] for column in ("memory_0", "memory_1") for text in train[column]}
    assert trained == of_keys.keys() - whole
    assert not {*train.user_prompt_0, *train.user_prompt_1} & {*test.user_prompt_0, *test.user_prompt_1}


def test_slices_without_memory_lines_give_tables_without_rows(base, tmp_path):
    pairs(SETTINGS, 1, save(tmp_path / "2020", base), tmp_path / "pairs")
    assert (tmp_path / "pairs/train.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert artifact.read_rows(tmp_path / "pairs/questions.jsonl") == []


def told(name, facts, older, templates=PLAIN, languages=("en",)):
    """A slice's facts and test rows, as the step `dataset` makes them of subject, relation, object."""
    valid = {fact["id"]: fact for fact in older}
    keyed = [dict(zip(("subject", "relation", "object"), fact, strict=True)) for fact in facts]
    brought, _ = new_facts(name, list(enumerate(keyed, start=2)), valid)
    return brought, fact_rows(brought, templates, languages)[1]


def test_questions_are_asked_only_of_facts_that_are_still_true(base, tmp_path):
    older, asked = told("2020", [("Peru", "capital", "Lima"), ("Chile", "capital", "Santiago")], [])
    one = save(tmp_path / "2020", base, facts=older, test=asked)
    newer, asked = told("2021", [("Peru", "capital", "Cusco"), ("Nepal", "capital", "Kathmandu")], older)
    pairs(SETTINGS, 1, save(tmp_path / "2021", one, facts=newer, test=asked), tmp_path / "pairs")

    made = artifact.read_rows(tmp_path / "pairs/questions.jsonl")
    assert len(made) == 3 and not any("Lima" in row["statement"] for row in made)
    for subject, capital in (("Peru", "Cusco"), ("Chile", "Santiago"), ("Nepal", "Kathmandu")):
        (row,) = (row for row in made if subject in row["question"])
        assert subject in row["statement"] and capital in row["statement"] and capital not in row["question"]


def test_a_question_has_the_statement_of_its_own_language(base, tmp_path):
    templates = read_templates(RELATIONS)
    (subject, name), (capital, capital_name) = list(templates.names.items())[:2]
    relation = next(key for key, languages in templates.relations.items() if {"en", "ko"} <= languages.keys())
    facts, asked = told("2020", [(subject, relation, capital)], [], templates, ("en", "ko"))
    pairs(SETTINGS, 1, save(tmp_path / "2020", base, facts=facts, test=asked), tmp_path / "pairs")
    made = artifact.read_rows(tmp_path / "pairs/questions.jsonl")
    assert len(made) == 2
    for spoken, said in ((subject, capital), (name, capital_name)):
        (row,) = (row for row in made if spoken in row["question"])
        assert spoken in row["statement"] and said in row["statement"]


def test_of_many_questions_the_seed_chooses_some(base, tmp_path):
    facts, asked = told("2020", [(f"Land {n}", "capital", f"Town {n}") for n in range(MAX_QUESTIONS + 50)], [])
    examples = save(tmp_path / "2020", base, facts=facts, test=asked)
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        pairs(SETTINGS, seed, examples, tmp_path / name)
    one, again, other = (artifact.read_rows(tmp_path / name / "questions.jsonl") for name in ("one", "again", "other"))
    assert one == again != other
    assert len({row["question"] for row in one}) == len(one) == MAX_QUESTIONS


def test_keys_that_differ_in_case_width_or_form_are_one_key(base, tmp_path):
    brought = rows(("Home", "1", "m1", "train"), ("ｈｏｍｅ", "2", "m2", "train"), ("HOUSE", "3", "m3", "train"))
    one = save(tmp_path / "2020", base, brought)
    again = save(tmp_path / "2021", one, rows(("HOME", "1", "m1", "train")))
    pairs(Pairs(synonyms=(("home", "house"),), max_rows=100), 1, again, tmp_path / "pairs")
    assert set(table(tmp_path / "pairs", "train").similarity_score) == {1.0}
    lines = artifact.read_json(tmp_path / "pairs/lines.json")["train"]
    assert sorted(line[0] for line in lines) == ["HOUSE", "Home", "ｈｏｍｅ"]
