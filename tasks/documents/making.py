"""Makes a raw slice of pages: facts, questions with answers, and texts, each marked with where it is from.

What is made are rows of the ordinary files (docs/formats.md), so that a person can look them over and change them, and
everything behind them treats them as it treats others: a page that says something else next month overrides what it
said. Rows that were given beside the pages come first, and what is made never contradicts them.
"""

import csv
import io
import json
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from tasks.artifact import write_file
from tasks.corpus.erasure import FIELDS, digest
from tasks.corpus.raw import ERASED, MADE, RELATIONS, Raw, read_raw
from tasks.corpus.slices import Examples, Row, valid_facts
from tasks.corpus.templates import Templates, filled
from tasks.corpus.text import folded, unfit
from tasks.documents.outline import outline_of
from tasks.documents.reading import MAX_PAGES, Page, pages_in, read_page
from tasks.documents.rules import told_by
from tasks.documents.telling import Answer, Fact
from tasks.errors import BadInput

FACTS, EXAMPLES, TEXTS = "facts.csv", "examples.jsonl", "texts.jsonl"
LONGEST_TEXT = 1000  # characters: about what a small model reads at once
SHORTEST_TEXT = 40  # what is shorter is no prose
SHOWN, SHOWN_TEXT = 20, 80  # problems; characters of a text in made.jsonl
WHOLE: Any = {"replace_whitespace": False, "break_on_hyphens": False}


class Made(NamedTuple):
    """How much was made of how many pages. known: texts that older slices have; contrary: facts that were left out,
    since others are asked for in the same words; replaced: questions that have another answer now."""

    pages: int
    facts: int
    questions: int
    texts: int
    known: int
    contrary: int
    replaced: int

    def __str__(self) -> str:
        answered = "its answer" if self.questions == 1 else "answers"
        parts = (_some(self.facts, "fact"), f"{_some(self.questions, 'question')} with {answered}")
        said = f"Made of {_some(self.pages, 'page')}: {', '.join(parts)}, {_some(self.texts, 'text')}; "
        said += f"{MADE} says from where. Look them over."
        if self.replaced:
            said += f" {_some(self.replaced, 'question')} had another answer before."
        if self.known:
            said += f" {_some(self.known, 'text')} known from older slices."
        if self.contrary:
            said += f" {_some(self.contrary, 'fact')} left out: asked for in the same words as another."
        return said


def read_pages(folder: Path) -> list[Page]:
    """All pages of a folder.

    Raises:
        BadInput: some can't be read; all of them are named. Or there are too many.
    """
    paths, pages, problems = pages_in(folder), [], []
    if len(paths) > MAX_PAGES:
        raise BadInput(f"{folder} has {len(paths)} pages, and a slice takes {MAX_PAGES}. Make several slices of it.")
    for path in paths:
        try:
            pages.append(read_page(path, folder))
        except BadInput as error:
            problems.append(str(error))
    if problems:
        more = [f"... and {len(problems) - SHOWN} more."] if len(problems) > SHOWN else []
        raise BadInput("\n".join([f"{folder} is not added:", *problems[:SHOWN], *more]))
    return pages


def make_rows(
    pages: list[Page],
    folder: Path,
    name: str,
    older: list[Examples],
    templates: Templates,
    languages: Iterable[str],
) -> Made:
    """Add what can be made of pages to the files of a slice.

    Args:
        pages: read by `read_pages`.
        folder: the slice's, with the files that were given beside the pages, if any.
        name: the slice's, which is the date of a page that has none.
        older: the slices before it.
        templates: all that are known.
        languages: those that facts are told in.
    """
    given, told = read_raw(folder), told_by(pages)
    templates = templates.extended_by(given.templates or Templates())
    answers, gone = _answers(told.answers, given, older)
    asked = _asked(given, older, answers, templates)
    facts, contrary = _new(told.facts, given, older, templates, set(languages), asked)
    texts, known = _texts(pages, given, older)
    made = _wordings(facts, templates)
    rows = [(fact.subject, fact.relation.name, fact.object) for fact in facts]
    asking = ({"input": each.question, "target": each.answer, "split": "train"} for each in answers)
    _append(folder / FACTS, _csv(rows, folder / FACTS))
    _append(folder / EXAMPLES, _json(asking))
    _append(folder / TEXTS, _json({"text": text, "date": page.date or name} for text, page, _ in texts))
    _append(folder / ERASED, "".join(f"{each} {EXAMPLES}\n" for each in gone))
    _append(folder / MADE, _json(_marks(facts, answers, texts)))
    if made["relations"]:
        write_file(folder / RELATIONS, _yaml(given.templates, made).encode())
    return Made(len(pages), len(facts), len(answers), len(texts), known, contrary, len(gone))


def _new(
    facts: list[Fact], given: Raw, older: list[Examples], templates: Templates, languages: set[str], asked: "Asked"
) -> tuple[list[Fact], int]:
    """The facts that can be told, subjects written as they were before, without those that are asked for as others are
    and have another answer; and how many these were."""
    known = {(folded(fact["subject"]), fact["relation"]): fact["subject"] for fact in valid_facts(older).values()}
    known |= {(folded(row["subject"]), row["relation"]): row["subject"] for _, row in given.facts}
    taken = {(row["subject"], row["relation"]) for _, row in given.facts}
    kept, contrary = [], 0
    for found in facts:
        if found.relation.language not in languages:
            continue
        fact = found._replace(subject=known.get((folded(found.subject), found.relation.name), found.subject))
        if (about := (fact.subject, fact.relation.name)) in taken:
            continue
        questions = list(_questions(fact, templates))
        others = (asked[question] for question in questions if question in asked)
        if any(answer != fact.object and other != about for answer, other in others):
            contrary += 1
            continue
        asked.update(dict.fromkeys(questions, (fact.object, about)))
        kept.append(fact)
    return kept, contrary


Asked = dict[str, tuple[str, tuple[str, str] | None]]  # what is asked: the answer, and which fact's it is


def _asked(given: Raw, older: list[Examples], answers: list[Answer], templates: Templates) -> Asked:
    """What is asked already: by older slices' facts that are true, by what was given, under the pages' headings."""
    true = valid_facts(older)
    asked: Asked = {}
    for row in (row for each in older for row in each.train if row["prompt"] and row["fact"] in true):
        fact = true[row["fact"]]
        asked[folded(row["prompt"])] = row["target"], (fact["subject"], fact["relation"])
    for _, row in given.facts:
        wording = templates.wording(row["relation"], "en")
        for template in wording.questions if wording else ():
            asked[folded(filled(template, row["subject"]))] = row["object"], (row["subject"], row["relation"])
    asked |= {folded(row["input"]): (row["target"], None) for _, row in given.examples}
    return asked | {folded(each.question): (each.answer, None) for each in answers}


def _questions(fact: Fact, templates: Templates) -> Iterator[str]:
    """All in which a fact is asked for."""
    wording = templates.wording(fact.relation.name, fact.relation.language) if _is_known(fact, templates) else None
    wording = wording or fact.relation.wording
    every = (*wording.questions, wording.paraphrase, *wording.everyday)
    yield from (folded(filled(template, fact.subject)) for template in every)


def _is_known(fact: Fact, templates: Templates) -> bool:
    return fact.relation.language in templates.relations.get(fact.relation.name, {})


def _answers(found: list[Answer], given: Raw, older: list[Examples]) -> tuple[list[Answer], list[str]]:
    """The questions that are not known with this answer, and the hashes of older rows that answer one otherwise."""
    taken = {folded(row["input"]) for _, row in given.examples}
    taken |= {folded(row["prompt"]) for each in older for row in each.test}
    before = {folded(row["prompt"]): row for each in older for row in each.train if row["kind"] == "example"}
    erased = {row["digest"] for each in older for row in each.erased}
    answers, gone = [], []
    for each in found:
        asks = folded(each.question)
        old = before.get(asks)
        if unfit(each.question) or unfit(each.answer) or asks in taken or (old and old["target"] == each.answer):
            continue
        if old:
            gone.append(digest(EXAMPLES, {"input": old["prompt"], "target": old["target"]}))
        now = digest(EXAMPLES, {"input": each.question, "target": each.answer})
        if now not in erased:  # or it would be gone at once
            answers.append(each)
    return answers, gone


def _texts(pages: list[Page], given: Raw, older: list[Examples]) -> tuple[list[tuple[str, Page, str]], int]:
    """Passages of the pages, with page and heading, none twice; and how many of them are known from older slices."""
    before = {folded(row["target"]) for each in older for row in [*each.train, *each.test] if not row["prompt"]}
    seen = {folded(row["text"]) for _, row in given.texts}
    texts, known = [], 0
    for page in pages:
        for section in outline_of(page.text, page.title):
            prose = [block for block in section.blocks if block.kind != "code"]
            blocks = [block.text if block.kind != "paragraph" else " ".join(block.lines) for block in prose]
            for text in _packed(blocks):
                form = folded(text)
                if form in seen or len(text) < SHORTEST_TEXT or unfit(text):
                    continue
                seen.add(form)
                if form in before:
                    known += 1
                else:
                    texts.append((text, page, section.path[-1] if section.path else ""))
    return texts, known


def _packed(blocks: list[str]) -> Iterator[str]:
    """Blocks together, as many as a text has room for; a longer one in pieces, parted at the ends of words."""
    text = ""
    for piece in (piece for block in blocks for piece in textwrap.wrap(block, LONGEST_TEXT, **WHOLE)):
        if text and len(text) + len(piece) + 1 > LONGEST_TEXT:
            yield text
            text = ""
        text = f"{text}\n{piece}".strip()
    if text:
        yield text


def _wordings(facts: list[Fact], templates: Templates) -> dict[str, Any]:
    """What relations.yaml says of relations that are not known, and the names of Korean facts."""
    relations: dict[str, Any] = {}
    names: dict[str, str] = {}
    for fact in facts:
        if fact.relation.language != "en":
            names |= {name: name for name in (fact.subject, fact.object) if name not in templates.names}
        if not _is_known(fact, templates):
            wording = fact.relation.wording.model_dump(exclude_defaults=True)
            relations.setdefault(fact.relation.name, {fact.relation.language: _plain(wording)})
    return {"names": names, "relations": relations}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _yaml(given: Templates | None, made: dict[str, Any]) -> str:
    before = _plain((given or Templates()).model_dump(exclude_defaults=True))
    together = {**before, **{key: {**each, **before.get(key, {})} for key, each in made.items() if each}}
    yaml, out = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style, yaml.allow_unicode, yaml.width = False, True, 10_000
    yaml.dump(together, out)
    return out.getvalue()


def _marks(facts: list[Fact], answers: list[Answer], texts: list[tuple[str, Page, str]]) -> Iterator[Row]:
    for fact in facts:
        row = dict(zip(FIELDS[FACTS], (fact.subject, fact.relation.name, fact.object), strict=True))
        yield {"file": FACTS, **row, "by": fact.rule, "source": fact.source}
    for each in answers:
        yield {"file": EXAMPLES, "input": each.question, "target": each.answer, "by": each.rule, "source": each.source}
    for text, page, heading in texts:
        source = page.source + (f" § {heading}" if heading else "")
        yield {"file": TEXTS, "text": text[:SHOWN_TEXT], "by": "as it stands", "source": source}


def _csv(rows: list[tuple[str, str, str]], path: Path) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if rows and not path.exists():
        writer.writerow(FIELDS[FACTS])
    writer.writerows(rows)
    return out.getvalue()


def _json(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _append(path: Path, text: str) -> None:
    """Put text behind what a file has; nothing makes no file."""
    if text:
        before = path.read_bytes() if path.exists() else b""
        write_file(path, before + b"\n" * (bool(before) and not before.endswith(b"\n")) + text.encode())


def _some(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
