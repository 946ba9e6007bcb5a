"""Puts worked examples of the same relation before a question, each exactly as a training row reads.

In-context learning as in Brown et al. 2020 (arXiv 2005.14165): no weight changes. Between two examples stands the
token that every training row begins with.
"""

from random import Random
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.corpus.slices import Examples, Row, language_of, still_true
from tasks.lm.causal import limit_of
from tasks.lm.template import start_token, template_of, tokens_of
from tasks.params import Evaluate
from tasks.scoring.answers import exact_matches
from tasks.scoring.knowledge import Knowledge, valid_accuracy
from tasks.scoring.sampling import Sample


def ask_with_shots(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    slices: list[Examples],
    valid: dict[str, Row],
    sample: Sample,
    settings: Evaluate,
) -> dict[str, Any]:
    """Accuracies by slice, and over all that is true, with worked examples before each question."""
    known = Knowledge()
    for examples in slices:
        shots = Shots(examples, valid, settings.shots)
        for kind in ("seen", "paraphrase"):
            sampled = sample[examples.name, kind]
            rows = with_shots(sampled.rows, shots, tokenizer, limit_of(model))
            right = exact_matches(model, tokenizer, rows, settings.batch_tokens)
            known.add(examples.name, kind, sampled.rows, right, sampled.weight)
    return {"shots": settings.shots, **known.accuracies(), "valid": valid_accuracy(known)}


class Shots:
    """The worked examples that one slice's training rows give; which of them, a row's id decides.

    A fact is shown facts of the same relation and language, but another subject. A row of examples.jsonl is shown
    other rows, one of every target before any target's second. Where there are fewer, fewer are shown.
    """

    def __init__(self, examples: Examples, valid: dict[str, Row], count: int):
        self.count = count
        self.facts = {fact["id"]: fact for fact in examples.facts}
        self.questions: dict[tuple[str, str], dict[str, list[Row]]] = {}  # by relation and language, then subject
        self.targets: dict[str, list[Row]] = {}
        for row in still_true(examples.train, valid):
            if row["kind"] == "question":
                fact = self.facts[row["fact"]]
                same = self.questions.setdefault((fact["relation"], language_of(row)), {})
                same.setdefault(fact["subject"], []).append(row)
            elif row["kind"] == "example":
                self.targets.setdefault(row["target"], []).append(row)

    def of(self, row: Row) -> list[Row]:
        """The worked examples for a test row, at most `count`; never its own fact."""
        chance = Random(row["id"])
        if row["fact"] is None:
            return _rounds(self.targets, self.count, chance)
        fact = self.facts[row["fact"]]
        subjects = self.questions.get((fact["relation"], language_of(row)), {})
        drawn = chance.sample(list(subjects), min(len(subjects), self.count + 1))  # one may be the subject asked for
        others = [subject for subject in drawn if subject != fact["subject"]][: self.count]
        return [chance.choice(subjects[subject]) for subject in others]


def with_shots(rows: list[Row], shots: Shots, tokenizer: PreTrainedTokenizerBase, limit: int) -> list[Row]:
    """The rows with their worked examples before the prompt; no more of these than `limit` tokens have room for."""
    start, template = tokenizer.decode([start_token(tokenizer)]), template_of(tokenizer)
    made = []
    for row in rows:
        room = limit - 1 - len(tokens_of(template.prompt(row["prompt"]) + template.target(row["target"]), tokenizer))
        before = ""
        for each in shots.of(row):
            told = template.target(each["target"])
            worked = f"{each['prompt']}{template.between}{told}{start}{template.before}"  # the row's own has it, too
            room -= len(tokens_of(worked, tokenizer))
            if room < 0:
                break
            before += worked
        made.append(row | {"prompt": before + row["prompt"]})
    return made


def _rounds(targets: dict[str, list[Row]], count: int, chance: Random) -> list[Row]:
    chosen: list[Row] = []
    left = {target: chance.sample(rows, min(count, len(rows))) for target, rows in _some(targets, count, chance)}
    while left and len(chosen) < count:
        chosen += [rows.pop() for rows in left.values()][: count - len(chosen)]
        left = {target: rows for target, rows in left.items() if rows}
    return chosen


def _some(targets: dict[str, list[Row]], count: int, chance: Random) -> list[tuple[str, list[Row]]]:
    drawn = chance.sample(list(targets), min(count, len(targets)))
    return [(target, targets[target]) for target in drawn]
