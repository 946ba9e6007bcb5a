"""Turns what a slice brings into the language model's training rows and test rows."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tasks.corpus.everyday import Frames, everyday
from tasks.corpus.raw import Numbered
from tasks.corpus.slices import Row, slice_of, templates_by_slice
from tasks.corpus.templates import Templates, filled
from tasks.corpus.text import folded, normal
from tasks.corpus.wording import Wording

HELD_OUT = 10  # one in so many: of facts, a statement; of texts


def new_facts(name: str, rows: list[Numbered], valid: dict[str, Row]) -> tuple[list[Row], int]:
    """The slice's facts as new or updated, and how many only restate what is valid already.

    Args:
        name: the slice.
        rows: subject, relation, object, with line numbers.
        valid: the facts that are true before this slice, by id.
    """
    before = {(fact["subject"], fact["relation"]): fact for fact in valid.values()}
    facts, restated = [], 0
    for line, row in rows:
        old = before.get((row["subject"], row["relation"]))
        if old and old["object"] == row["object"]:
            restated += 1
            continue
        replaces = {"id": old["id"], "object": old["object"]} if old else None
        facts.append({"id": f"{name}/{line}", **row, "category": "updated" if old else "new", "replaces": replaces})
    return facts, restated


def fact_rows(facts: list[Row], templates: Templates, languages: tuple[str, ...]) -> tuple[list[Row], list[Row]]:
    """Training rows and test rows of the facts.

    Paraphrase and everyday wordings are never trained on; of one fact in HELD_OUT, in a language, one statement is
    not, so that there is text of the slice's own whose perplexity is not that of what was learnt by heart.
    """
    train: list[Row] = []
    test: list[Row] = []
    for fact in facts:
        for language, subject, obj, wording in _spoken(fact, templates, languages):
            train += _told(fact, language, subject, obj, wording)
            questions = [filled(template, subject) for template in wording.questions]
            stated = filled(wording.statements[_stated(fact, language, wording)], subject, obj)
            stale = _stale_object(fact, templates, language)
            pick = _digest(f"{fact['id']}-{language}")
            paraphrase = filled(wording.paraphrase, subject)
            kind, everyday_question = _everyday(fact, language, subject, wording, templates)
            test += [
                _test(fact, language, "seen", questions[pick % len(questions)], obj, stale),
                _test(fact, language, "paraphrase", paraphrase, obj, stale),
                _test(fact, language, "everyday", everyday_question, obj, None) | {"how": kind},
                _test(fact, language, "statement", "", stated, None),
            ]
    return train, test


def told_again(facts: list[Row], examples: Path) -> list[Row]:
    """The training rows of facts of the slice in `examples` and of older ones, as each fact's own slice told it.

    No slice's rows are read: `languages` of a fact says in which it was told, and its slice's templates in what words.
    """
    templates = templates_by_slice(examples) if facts else {}
    return [
        row
        for fact in facts
        for spoken in _spoken(fact, templates[slice_of(fact)], tuple(fact["languages"]))
        for row in _told(fact, *spoken)
    ]


def _told(fact: Row, language: str, subject: str, obj: str, wording: Wording) -> list[Row]:
    """A fact's training rows in a language: all of its questions, and its statements, but for one that is held out."""
    held_out = _digest(f"{fact['id']}-{language}-statement") % HELD_OUT == 0
    without = _stated(fact, language, wording) if held_out else None
    questions = [filled(template, subject) for template in wording.questions]
    statements = [filled(template, subject, obj) for template in wording.statements]
    return [
        *(_row(fact, language, "question", number, prompt, obj) for number, prompt in enumerate(questions)),
        *(
            _row(fact, language, "statement", number, "", text)
            for number, text in enumerate(statements)
            if number != without
        ),
    ]


def _stated(fact: Row, language: str, wording: Wording) -> int:
    """Which statement of a fact is its test row of that kind."""
    return _digest(f"{fact['id']}-{language}") % len(wording.statements)


def _everyday(fact: Row, language: str, subject: str, wording: Wording, templates: Templates) -> tuple[str, str]:
    random = Random(f"{fact['id']}/{language}/everyday")
    frames = templates.everyday.get(language, Frames())
    template = random.choice(wording.questions)
    kind, question = everyday(template, wording.everyday, subject, frames, random)
    return kind, normal(question) or filled(template, subject)  # a typo can take the only letter


def chat_rows(name: str, rows: list[Numbered], repeats: int) -> list[Row]:
    """Everyday talk: input -> output, a retrieved `[key: value]` before the input left as it stands.

    A fact is told in a dozen wordings, a chat row in its own alone: so each stands `repeats` times.
    """
    return [
        _plain(f"{name}/chat/{line}/{copy}", "chat", row["input"], row["output"])
        for line, row in rows
        for copy in range(repeats)
    ]


def example_rows(name: str, rows: list[Numbered]) -> tuple[list[Row], list[Row]]:
    """A user's own examples. Their test inputs are never trained on, so that they count as both test sets."""
    train, test = [], []
    for line, row in rows:
        made = _plain(f"{name}/examples/{line}", "example", row["input"], row["target"])
        if row["split"] == "train":
            train.append(made)
        else:
            for kind in ("seen", "paraphrase"):
                test.append({"id": made["id"], "set": kind, "prompt": made["prompt"], "target": made["target"],
                             "fact": None, "stale": None})  # fmt: skip
    return train, test


def text_rows(name: str, rows: list[Numbered], held_out: int = HELD_OUT) -> tuple[list[Row], list[Row]]:
    """Dated texts, to be continued word by word; one in `held_out` is kept for perplexity."""
    made = [_plain(f"{name}/texts/{line}", "text", "", row["text"]) for line, row in rows]
    test = [row for row in made if _digest(row["target"]) % held_out == 0]
    train = [row for row in made if _digest(row["target"]) % held_out != 0]
    return train, [
        {
            "id": row["id"],
            "set": "statement",
            "prompt": "",
            "target": row["target"],
            "fact": None,
            "stale": None,
        }
        for row in test
    ]


def split_memories(rows: list[Numbered]) -> list[Row]:
    """Assign memory lines to train, calibration or test, by key and by line, never by pair.

    One key in eight is tested on whole and one in sixteen calibrates; of the other keys' lines one in five is tested
    on and one in ten calibrates. The choice hangs on the text alone, so that a key, however it is written, or a line
    has the same side in every slice.
    """
    return [{**row, "split": _split(row)} for _, row in rows]


def _split(row: dict[str, str]) -> str:
    name = folded(row["key"])
    key, line = _digest(name), _digest(name + row["message"])
    if key % 8 == 0 or line % 5 == 0:
        return "test"
    return "calibration" if key % 16 == 4 or line % 10 == 3 else "train"


def _spoken(fact: Row, templates: Templates, languages: tuple[str, ...]) -> Iterator[tuple[str, str, str, Wording]]:
    """The languages in which a fact can be told: there are templates, and names for subject and object."""
    for language in languages:
        wording = templates.wording(fact["relation"], language)
        subject, obj = templates.name(fact["subject"], language), templates.name(fact["object"], language)
        if wording and subject and obj:
            yield language, subject, obj, wording


def _stale_object(fact: Row, templates: Templates, language: str) -> str | None:
    return templates.name(fact["replaces"]["object"], language) if fact["replaces"] else None


def _row(fact: Row, language: str, kind: str, number: int, prompt: str, target: str) -> Row:
    return {
        "id": f"{fact['id']}/{language}/{kind}{number}", "kind": kind, "prompt": prompt, "target": target,
        "fact": fact["id"],
    }  # fmt: skip


def _test(fact: Row, language: str, kind: str, prompt: str, target: str, stale: str | None) -> Row:
    return {
        "id": f"{fact['id']}/{language}/{kind}", "set": kind, "prompt": prompt, "target": target,
        "fact": fact["id"], "stale": stale,
    }  # fmt: skip


def _plain(identity: str, kind: str, prompt: str, target: str) -> Row:
    return {"id": identity, "kind": kind, "prompt": prompt, "target": target, "fact": None}


def _digest(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)
