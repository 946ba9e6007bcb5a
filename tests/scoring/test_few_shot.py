import pytest

from tasks.corpus.slices import Examples
from tasks.lm.batches import encode
from tasks.params import Evaluate
from tasks.scoring.few_shot import Shots, ask_with_shots, with_shots
from tasks.scoring.sampling import sample_rows

LEADERS = {"Norway": "Ada", "Peru": "Ben", "Chile": "Cleo", "Japan": "Dan"}
LANGUAGES = {"en": "Who leads {}?", "ko": "{} 대통령?"}


def fact_slice():
    """Leaders in two languages and two wordings, and one capital."""
    facts, train, test = [], [], []
    told = [(name, "leader", leader) for name, leader in LEADERS.items()] + [("Peru", "capital", "Lima")]
    for number, (subject, relation, leader) in enumerate(told):
        fact = {"id": f"a/{number}", "subject": subject, "relation": relation, "category": "new", "object": leader}
        facts.append(fact)
        for language, template in LANGUAGES.items():
            prompt = template.format(subject) if relation == "leader" else f"Capital of {subject}?"
            train += [
                {"id": f"{fact['id']}/{language}/question{n}", "kind": "question", "prompt": f"{prompt} {n}",
                 "target": leader, "fact": fact["id"]} for n in range(2)
            ]  # fmt: skip
            train.append({"id": f"{fact['id']}/{language}/statement0", "kind": "statement", "prompt": "",
                          "target": f"{leader}!", "fact": fact["id"]})  # fmt: skip
            test += [{"id": f"{fact['id']}/{language}/{kind}", "set": kind, "prompt": f"{prompt} 0", "target": leader,
                      "fact": fact["id"], "stale": None} for kind in ("seen", "paraphrase")]  # fmt: skip
    return Examples(name="a", train=train, test=test, facts=facts)


def labelled(counts):
    train = [{"id": f"b/examples/{label}{n}", "kind": "example", "prompt": f"{label} {n}", "target": label,
              "fact": None} for label, count in counts.items() for n in range(count)]  # fmt: skip
    test = {"id": "b/examples/99", "set": "seen", "prompt": "which?", "target": "x", "fact": None, "stale": None}
    return Examples(name="b", train=train, test=[test])


def all_valid(examples):
    return {fact["id"]: fact for fact in examples.facts}


def test_a_fact_is_shown_other_subjects_of_its_relation_in_its_language():
    examples = fact_slice()
    shots = Shots(examples, all_valid(examples), 2)
    for row in examples.test:
        shown = shots.of(row)
        subjects = [shots.facts[each["fact"]]["subject"] for each in shown]
        asked = shots.facts[row["fact"]]
        assert len(shown) == len(set(subjects)) == (2 if asked["relation"] == "leader" else 0)
        assert asked["subject"] not in subjects
        assert {each["kind"] for each in shown} <= {"question"}
        assert {each["id"].split("/")[-2] for each in shown} <= {row["id"].split("/")[-2]}
        assert {shots.facts[each["fact"]]["relation"] for each in shown} <= {asked["relation"]}


def test_every_other_subject_is_shown_if_there_are_no_more():
    examples = fact_slice()
    shown = Shots(examples, all_valid(examples), 9).of(examples.test[0])
    assert {each["target"] for each in shown} == {"Ben", "Cleo", "Dan"}


def test_a_fact_that_was_replaced_is_no_example():
    examples = fact_slice()
    valid = all_valid(examples)
    del valid["a/1"]
    shots = Shots(examples, valid, 9)
    assert "Ben" not in {each["target"] for row in examples.test for each in shots.of(row)}


def test_the_same_rows_get_the_same_examples_and_other_rows_others():
    examples = fact_slice()
    one, again = (Shots(examples, all_valid(examples), 2) for _ in range(2))
    chosen = [[each["id"] for each in one.of(row)] for row in examples.test]
    assert chosen == [[each["id"] for each in again.of(row)] for row in examples.test]
    assert len({tuple(each) for each in chosen}) > 4


@pytest.mark.parametrize(("count", "most"), [(1, 1), (3, 1), (5, 2), (7, 4), (20, 5)])
def test_an_example_row_is_shown_one_of_every_target_before_any_second(count, most):
    examples = labelled({"x": 5, "y": 2, "z": 1})
    shown = Shots(examples, {}, count).of(examples.test[0])
    targets = [row["target"] for row in shown]
    assert len({row["id"] for row in shown}) == len(shown) == min(count, 8)
    assert max(targets.count(target) for target in targets) == most
    assert len(set(targets[:3])) == min(count, 3)


def test_what_the_model_reads_is_training_rows_one_after_the_other(tiny):
    _, tokenizer = tiny
    examples = fact_slice()
    shots = Shots(examples, all_valid(examples), 2)
    row = examples.test[0]
    (asked,) = encode(with_shots([row], shots, tokenizer, 1000), tokenizer, 1000)
    parts = encode([*shots.of(row), row], tokenizer, 1000)
    assert asked.ids == [token for part in parts for token in part.ids]
    assert asked.ids[asked.start :] == parts[-1].ids[parts[-1].start :]


def test_examples_that_the_model_has_no_room_for_are_left_out_whole(tiny):
    _, tokenizer = tiny
    examples = fact_slice()
    shots = Shots(examples, all_valid(examples), 3)
    row = examples.test[0]
    lengths = [len(each.ids) for each in encode([*shots.of(row), row], tokenizer, 1000)]
    for fitting in range(4):
        limit = sum(lengths[:fitting]) + lengths[-1]
        (asked,) = encode(with_shots([row], shots, tokenizer, limit), tokenizer, 1000)
        assert len(asked.ids) == limit
        (fewer,) = encode(with_shots([row], shots, tokenizer, limit - 1), tokenizer, 1000)
        assert len(fewer.ids) == (sum(lengths[: fitting - 1]) + lengths[-1] if fitting else limit)


def test_the_scores_count_the_rows_of_the_sample(tiny):
    examples = fact_slice()
    valid = all_valid(examples)
    settings = Evaluate(batch_tokens=512, samples=1, shots=2)
    told = ask_with_shots(*tiny, [examples], valid, sample_rows([examples], valid, 100), settings)
    assert told["shots"] == 2
    assert told["accuracy"] == {"a": 0.0}  # an untrained model
    assert told["valid"] == {"accuracy": 0.0, "paraphrase_accuracy": 0.0}
