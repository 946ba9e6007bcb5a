"""What is erased is as if it had never been given: in the examples, in the sums, and in every answer."""

import shutil

import pytest
import torch

from tasks.corpus.erasure import digest
from tasks.corpus.slices import history, valid_facts
from tasks.lm.solved.files import sums_in
from tasks.lm.solved.learn import Kept
from tasks.lm.solved.sums import Sums
from tests.every_step import CHAT, MEMORIES, facts, lines
from tests.lm.solved.brought import answered, brought, known_rows

FIRST = facts(("Chile", "Santiago"), ("Peru", "Lima"), ("Ghana", "Accra"))
TALK = {"chat.jsonl": lines({"input": "hello", "output": "hi there"}, {"input": "bye", "output": "see you"})}
SECOND = facts(("Nepal", "Kathmandu"), ("Peru", "Cusco"), ("Fiji", "Suva")) | TALK | MEMORIES
THIRD = facts(("Cuba", "Havana"), ("Nepal", "Pokhara"))
FOURTH = facts(("Togo", "Lome"), ("Fiji", "Nadi"))
ROWS = {"subject": "Peru", "relation": "capital", "object": "Cusco"}, {"input": "bye", "output": "see you"}
OLD = {"subject": "Nepal", "relation": "capital", "object": "Kathmandu"}
OWN = {"subject": "Togo", "relation": "capital", "object": "Lome"}
LINE = {"key": "Home Town", "value": "Busan", "message": "Where am I from?"}


def erased(*rows):
    """The file that names rows by their hashes."""
    files = {"subject": "facts.csv", "input": "chat.jsonl", "key": "memories.txt"}
    return {"erased.txt": "".join(f"{digest(file, row)} {file}\n" for row in rows for file in [files[next(iter(row))]])}


@pytest.fixture(scope="module")
def both(begun, tmp_path_factory):
    """A timeline whose fourth slice erases rows, and one that never had them."""
    root = tmp_path_factory.mktemp("both")
    for name in ("erasing", "never"):
        shutil.copytree(begun, root / name)
    gone = FOURTH | erased(*ROWS, OLD, OWN, LINE)
    erasing = brought(root / "erasing", ("one", FIRST), ("two", SECOND), ("three", THIRD), ("four", gone))
    second = facts(("Fiji", "Suva")) | CHAT | {"memories.txt": "[job: baker] Where do I work?\n"}
    never = brought(
        root / "never", ("one", FIRST), ("two", second), ("three", THIRD), ("four", facts(("Fiji", "Nadi")))
    )
    return erasing, never


def test_the_sums_are_those_of_a_model_that_never_had_it(both):
    erasing, never = (Sums.load(sums_in(each.root / "four/lm", 0)) for each in both)
    assert erasing.places == never.places and torch.equal(erasing.tokens, never.tokens)
    # another batch rounds a state in its last bit, and with it, now and then, a feature
    assert (erasing.gram != never.gram).float().mean() < 0.01
    kept = [sorted(Kept.load(each.root / "four/lm").facts.values()) for each in both]
    assert len(kept[0]) == len(kept[1]) == 6  # by their ids, which count lines, the rows differ


def test_it_answers_as_one_that_never_had_it(both):
    erasing, never = both
    rows = known_rows(never, "four")
    asked = rows + [{"prompt": f"{name}, capital?", "target": city} for name, city in
                    (("Peru", "Cusco"), ("Peru", "Lima"), ("Nepal", "Pokhara"), ("Togo", "Lome"))]  # fmt: skip
    asked.append({"prompt": "bye", "target": "see you"})
    (right, found), (expected, known) = (answered(each.root / "four/lm", asked) for each in both)
    assert right == expected and right[-5:] == [False, True, True, False, False]
    assert (found - known).abs().max() < 1e-3 * known.abs().max()


def shown(slices):
    """What is there of each slice, but for what hangs on the number of a fact's line."""
    facts_of = [
        [(fact["subject"], fact["object"], fact["category"], (fact["replaces"] or {}).get("object"))
         for fact in each.facts]
        for each in slices
    ]  # fmt: skip
    asked = [{(row["prompt"], row["target"]) for row in each.train if row["prompt"]} for each in slices]
    tested = [[row["prompt"] for row in each.test if row["set"] == "paraphrase"] for each in slices]
    return facts_of, asked, tested, [[row["key"] for row in each.memories] for each in slices]


def test_the_slices_are_as_if_it_had_never_been_given(both):
    erasing, never = (history(each.root / "examples/four") for each in both)
    assert shown(erasing) == shown(never)
    assert [row["stale"] for row in erasing[2].test if row["target"] == "Pokhara"] == [None] * 3
    before = valid_facts(history(both[0].root / "examples/three"))  # what was is not rewritten
    assert {fact["subject"]: fact["object"] for fact in before.values()}["Peru"] == "Cusco"
