"""Builds the examples of a slice from what it brings, for the step `dataset` and for a look ahead before it runs."""

from tasks.corpus.language import chat_rows, example_rows, fact_rows, new_facts, split_memories, text_rows
from tasks.corpus.raw import Raw
from tasks.corpus.slices import Examples, valid_facts
from tasks.corpus.templates import Templates
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
        templates=raw.templates or Templates(),
    )
    return examples, restated
