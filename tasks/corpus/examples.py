"""Builds the examples of a slice from what it brings, for the step `dataset` and for a look ahead before it runs."""

from dataclasses import replace
from typing import Any

from tasks.corpus.erasure import FIELDS, digest
from tasks.corpus.language import chat_rows, example_rows, fact_rows, new_facts, split_memories, text_rows
from tasks.corpus.raw import Numbered, Problem, Raw
from tasks.corpus.slices import Examples, never_given, valid_facts
from tasks.corpus.templates import Templates
from tasks.corpus.text import shown, unfit
from tasks.params import Dataset


def examples_of(
    name: str, raw: Raw, older: list[Examples], templates: Templates, settings: Dataset
) -> tuple[Examples, int]:
    """The examples of a slice, and how many of its facts only restate what is true already.

    Args:
        name: the slice.
        raw: what it brings.
        older: the slices before it.
        templates: all that are known at it, its own included.
        settings: params.yaml's section `dataset`.
    """
    older, raw = never_given(older, {row["digest"] for _, row in raw.erased}), _kept(raw)
    facts, restated = new_facts(name, raw.facts, valid_facts(older))
    fact_train, fact_test = fact_rows(facts, templates, settings.languages)
    example_train, example_test = example_rows(name, raw.examples)
    text_train, text_test = text_rows(name, raw.texts)
    examples = Examples(
        name=name,
        train=[*fact_train, *example_train, *chat_rows(name, raw.chat, settings.chat_repeats), *text_train],
        test=[*fact_test, *example_test, *text_test],
        facts=facts,
        memories=split_memories(raw.memories),
        erased=[row for _, row in raw.erased],
        templates=raw.templates or Templates(),
    )
    return examples, restated


def problems_of_rows(examples: Examples, older: list[Examples]) -> list[Problem]:
    """What is wrong with the rows that templates and names make together, though each of them is sound alone."""
    taught = {row["fact"] for row in examples.train}
    problems = [
        Problem(
            "facts.csv", _line(fact["id"]),
            f"'{fact['relation']}' of '{fact['subject']}' can be told in none of dataset.languages in params.yaml. "
            "Give relations.yaml templates for the relation and names for both, or name another language.",
        )
        for fact in examples.facts
        if fact["id"] not in taught
    ]  # fmt: skip
    for row in [*examples.train, *examples.test]:
        reason = unfit(row["prompt"]) or unfit(row["target"])
        if row["fact"] and reason:
            text = shown(row["prompt"] or row["target"])
            problems.append(
                Problem("facts.csv", _line(row["fact"]), f"with its template it becomes '{text}', which {reason}")
            )
    trained = {row["prompt"]: f"facts.csv, line {_line(row['fact'])}" for row in examples.train if row["fact"]}
    tested = {row["prompt"]: row["id"] for row in examples.test if not row["fact"] and row["prompt"]}
    for prompt in sorted(trained.keys() & tested.keys()):
        reason = f"a test row that {trained[prompt]}, is asked in. Remove one of them."
        problems.append(Problem("examples.jsonl", _line(tested[prompt]), reason))
    before = {row["prompt"]: each.name for each in older for row in each.test if not row["fact"] and row["prompt"]}
    for row in examples.train:
        if row["fact"] and row["prompt"] in before:
            reason = f"is asked as '{shown(row['prompt'])}', which slice {before[row['prompt']]} tests with. Remove it."
            problems.append(Problem("facts.csv", _line(row["fact"]), reason))
    return list({(each.file, each.line): each for each in problems}.values())  # one sentence for a line


def _kept(raw: Raw) -> Raw:
    """A raw slice without the rows that it erases itself."""
    gone = {row["digest"] for _, row in raw.erased}
    if not gone:
        return raw

    def left(file: str, rows: list[Numbered]) -> list[Numbered]:
        return [(line, row) for line, row in rows if digest(file, row) not in gone]

    names = {file: file.partition(".")[0] for file in FIELDS}
    rows: dict[str, Any] = {name: left(file, getattr(raw, name)) for file, name in names.items()}
    return replace(raw, **rows)


def _line(identity: str) -> int:
    """The line in an id such as 2021/7 or 2021/examples/7."""
    return int(identity.split("/")[2 if identity.split("/")[1] == "examples" else 1])
