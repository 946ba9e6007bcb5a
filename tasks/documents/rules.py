"""What pages say, as facts and as questions with their answers, found by rules.

A rule is a form in which people write things down: `key: value`, a table, a heading that asks, a heading with what it
promises under it, and the sentences of prose.py. What no rule fits is left alone: a fact that is missing is better than
a wrong one. English, and of Korean the keys, the tables and the headings that ask.

A fact needs a subject. That of a sentence is its own; that of a key is the nearest heading above it that is a name, or
else what the pages are all about, or else the page's title.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tasks.corpus.plain import PEOPLE
from tasks.corpus.text import folded, one_line
from tasks.documents import relations
from tasks.documents.outline import Block, Section, outline_of
from tasks.documents.passages import sentences
from tasks.documents.prose import facts_of_prose
from tasks.documents.reading import Page
from tasks.documents.relations import Relation
from tasks.documents.telling import (
    DAYS,
    HANGUL,
    MAX_OBJECT,
    MONEY,
    MONTHS,
    NAME,
    TOPIC,
    WHEN,
    WORD,
    Answer,
    Fact,
    Place,
    article_off,
    is_name,
    is_usable,
    lowered,
)

MAX_SUBJECT, MAX_KEY = 80, 40  # characters
NAMED = 0.3  # of the pages that a name must stand in to be what they are all about

PHONE = re.compile(r"^\+?[\d(][\d ()/.-]{5,20}\d$")
EMAIL = re.compile(r"^[\w.+-]+@[\w-]+(?:\.[\w-]+)+$")
WEEKDAY = re.compile(rf"^(?:{DAYS})(?:\s*(?:-|–|—|to|and|&|,)\s*(?:{DAYS}))*$", re.IGNORECASE)
EVENT = re.compile(rf"(?:(?:{DAYS}),? )?(?:\d{{1,2}}(?:st|nd|rd|th)? (?:{MONTHS})|(?:{MONTHS}) \d)", re.IGNORECASE)
HAPPENED = re.compile(r"[A-Za-z]+ed|built|made|born|written|bought", re.IGNORECASE)
HOURS = re.compile(r"hours|times?\b|open|schedule|timetable", re.IGNORECASE)
PLACES = re.compile(r"station|stop|road|address|place|town|city|country|venue|location|school|university")
NO_KEY = {"note", "tip", "warning", "example", "nb", "ps", "important", "q", "a", "from", "to", "cc", "subject", "re"}
NUMBERED = re.compile(r"\d|(?:step|part|phase|chapter|figure|table)\b", re.IGNORECASE)  # a key that begins so is none
WRITTEN = re.compile(r"[^\W\d_]{2}")  # a key has letters
CODE = re.compile(r"[\[\]()<>_*=`/\\]|\w\.\w")
WHERE_TO = re.compile(r"contact|find us|visit|address|getting|directions", re.IGNORECASE)  # no subject has such hours
IN_BRACKETS = re.compile(r"\s*\([^()]*\)")
KEY_VALUE = re.compile(rf"([^:.!?\n\"“]{{1,{MAX_KEY}}}?)\s*:\s+(\S.*)")
DASHED = re.compile(rf"([^:.!?\n–—\"“]{{1,{MAX_KEY}}}?)\s+[–—]\s+(\S.*)")
ABOUT_NAME = re.compile(rf"(?:About|Welcome to)(?: the)? ({WORD}(?: (?:(?:of|the|and|&|de|la) ){{0,2}}{WORD})*)")
BEFORE_NAME = re.compile(r"^(?:The|At|In|Our|About|From|Welcome to) (?:the )?|['’]s$|[.'’-]+$", re.IGNORECASE)
ROLES = re.compile(r"(?:the )?([A-Za-z][\w &-]{2,60}?)(?:$|[,;.(–—]| (?:since|who|from|until)\b)")
ASKING = {"who", "what", "where", "when", "why", "how", "which", "can", "do", "does", "is", "are"}
WITHIN = {"by", "on", "from", "with", "in", "at"}  # a heading that begins so goes on with the one above it


class Told(NamedTuple):
    facts: list[Fact]
    answers: list[Answer]


def told_by(pages: Sequence[Page]) -> Told:
    """All that the rules find in pages; of what one page contradicts in another, nothing."""
    outlines = [(page, outline_of(page.text, page.title)) for page in pages]
    ours = _all_about(outlines)
    facts: list[Fact] = []
    answers: dict[str, dict[str, Answer]] = {}
    for page, sections in outlines:
        repeated = _repeated(sections)
        for section in sections:
            place = _place(page, section, ours, repeated)
            if question := _question(section.path):
                if answer := _beginning(" ".join(block.text for block in section.blocks if block.kind != "code")):
                    found = Answer(question, answer, "a heading that asks", place.source)
                    answers.setdefault(folded(question), {}).setdefault(answer, found)
            else:
                facts += _under_heading(section, place)
            facts += [fact for block in section.blocks for fact in _of_block(block, place)]
    agreed = [next(iter(same.values())) for same in answers.values() if len(same) == 1]
    return Told([fact for fact in _agreed(facts) if _is_usable(fact)], agreed)


def _all_about(outlines: list[tuple[Page, list[Section]]]) -> str:
    """The name that the pages are of, if any: a "we" is theirs, and keys under headings that are none. It is the one
    that a page is "About", or that stands in most of them and is no thing of theirs ("the Long Barn")."""
    titles = [page.title or (sections[0].path or ("",))[0] for page, sections in outlines if sections]
    if about := [match[1] for match in map(ABOUT_NAME.fullmatch, titles) if match]:
        return about[0]
    found: Counter[str] = Counter()
    for page, _ in outlines:
        found.update({
            BEFORE_NAME.sub("", match[0]) for match in NAME.finditer(page.text)
            if page.text[max(0, match.start() - 4) : match.start()].lower() != "the "
        })  # fmt: skip
    name, count = max(found.items(), key=lambda item: (item[1], len(item[0])), default=("", 0))
    return name if count >= max(2, NAMED * len(outlines)) else ""


def _repeated(sections: list[Section]) -> set[str]:
    """Keys that several sections of a page have: each is of its own heading there."""
    keys = Counter(key for section in sections for key in _keys(section))
    return {key for key, count in keys.items() if count > 1}


def _keys(section: Section) -> set[str]:
    return {key.lower() for block in section.blocks for key, _ in _pairs(block)}


def _place(page: Page, section: Section, ours: str, repeated: set[str]) -> Place:
    path = section.path
    heading, title = path[-1] if path and is_usable(one_line(path[-1])) else "", page.title or (path[0] if path else "")
    names = [BEFORE_NAME.sub("", each) for each in path]
    topic = next((each for each in reversed(names) if is_name(each)), "") or ours or BEFORE_NAME.sub("", title)
    if len(path) > 1 and _keys(section) & repeated:
        topic = names[-1]
    source = page.source + (f" § {heading}" if heading and heading != title else "")
    return Place(topic, ours, title, heading, source)


# --- headings ---


def _question(path: tuple[str, ...]) -> str:
    """The question that the last heading is, if need be with the one above it ("How to get here" > "By bus"); or ""."""
    heading = one_line(path[-1]) if path else ""
    word = heading.partition(" ")[0].lower()
    if heading.endswith(("?", "？")):
        return heading
    if len(path) < 2 or " " not in heading:
        return ""
    if word in WITHIN:
        return f"{path[-2]} {heading[0].lower()}{heading[1:]}?"
    if word == "if":
        return f"What {heading[0].lower()}{heading[1:]}?"
    return f"{heading}?" if word in ASKING else ""


def _under_heading(section: Section, place: Place) -> Iterator[Fact]:
    """What a heading promises is what the first sentence under it says."""
    heading, first = place.heading if len(section.path) > 1 else "", section.blocks[0]
    if not heading or first.kind != "paragraph" or len(heading.split()) > 5 or list(_pairs(first)):
        return
    if TOPIC.search(heading) or is_name(heading) or not _is_key(heading) or HANGUL.search(heading):
        return
    if (answer := _beginning(" ".join(first.lines))) and not answer.endswith(":"):
        yield Fact(place.topic, relations.noun(lowered(heading)), answer, "heading", place.source)


def _beginning(text: str) -> str:
    """The first sentences of a text, as many as an answer has room for; "" if the first has none."""
    kept = ""
    for sentence in sentences(one_line(text)):
        if len(kept) + len(sentence) >= MAX_OBJECT:
            break
        kept = f"{kept} {sentence}".strip()
    return kept


# --- blocks ---


def _of_block(block: Block, place: Place) -> Iterator[Fact]:
    pairs = list(_pairs(block))
    last = place.heading if place.heading and place.heading != place.page else place.topic
    if block.kind == "table":
        yield from _table(block, place)
    for key, value in pairs:
        yield from _pair(key, value, place)
    if block.kind == "paragraph" and not pairs:
        yield from facts_of_prose(" ".join(block.lines), place, last)
    if block.kind == "list":
        for line in block.lines:
            if not KEY_VALUE.fullmatch(line) and not DASHED.fullmatch(line):
                yield from facts_of_prose(line, place, last)


def _pairs(block: Block) -> Iterator[tuple[str, str]]:
    """The keys of a block, and their values: of a paragraph, if all its lines are such."""
    if block.kind not in ("list", "paragraph"):
        return
    forms = (KEY_VALUE, DASHED) if block.kind == "list" else (KEY_VALUE,)
    found = [next(filter(None, (form.fullmatch(line) for form in forms)), None) for line in block.lines]
    if block.kind == "list" or all(found):
        pairs = ((IN_BRACKETS.sub("", match[1]).strip(), match[2].strip()) for match in found if match)
        yield from ((key, value) for key, value in pairs if _is_key(key))


def _is_key(text: str) -> bool:
    if WEEKDAY.match(text):
        return True
    named = is_usable(one_line(text)) and WRITTEN.search(text) and text.lower() not in NO_KEY
    return bool(named) and not NUMBERED.match(text) and not CODE.search(text)


def _pair(key: str, value: str, place: Place) -> Iterator[Fact]:
    """What a key and its value say. A name with what it is defines; a day, an amount, a number to call are known by
    their form; sentences behind the value tell of it."""
    if HANGUL.search(key):
        yield Fact(place.topic, relations.noun_ko(key), value, "key and value", place.source)
        return
    first, *others = sentences(value)
    if others and is_name(first.rstrip(".")):
        yield from facts_of_prose(" ".join(others), place._replace(topic=first.rstrip(".")), first.rstrip("."))
    value = first.rstrip(".") if others or value.count(".") == 1 else value
    if WEEKDAY.match(key):
        yield Fact(*_hours("", key, place), value, "weekday", place.source)
    elif HAPPENED.fullmatch(key) and WHEN.search(value):
        yield Fact(place.topic, relations.done_when(key.lower()), value, "key and value", place.source)
    elif EVENT.match(value) and not relations.is_kind(key) and len(key.split()) > 1:
        yield Fact(article_off(key), relations.noun("date"), value, "key and value", place.source)
    elif relation := _told_by_form(key, value):
        yield Fact(article_off(key), relation, value, "key and value", place.source)
    elif is_name(key) and (value[:1].islower() or PEOPLE.search(value)):
        yield from _who(key, value, place)
    elif len(key.split()) <= 5:
        yield from _attribute(lowered(key), value, place)


def _attribute(key: str, value: str, place: Place) -> Iterator[Fact]:
    person = value.partition(",")[0]
    is_person = bool(NAME.fullmatch(person)) and not PLACES.search(key)
    yield Fact(place.topic, relations.noun(key, who=is_person), value, "key and value", place.source)
    if is_person and PEOPLE.search(key):
        yield Fact(person, relations.definition(), key, "key and value", place.source)


def _who(name: str, value: str, place: Place) -> Iterator[Fact]:
    yield Fact(name, relations.definition(), value, "name and what it is", place.source)
    roles = ROLES.match(value)
    for role in re.split(r" (?:and|&) ", roles[1]) if roles else ():
        if PEOPLE.search(role) and " for " not in role:
            yield Fact(place.topic, relations.noun(lowered(role)), name, "name and what it is", place.source)


def _hours(column: str, day: str, place: Place) -> tuple[str, Relation]:
    """Of what the hours on a day are told, and the relation: what a table or a heading calls them, or opening hours."""
    called = next((each for each in (column, place.heading) if HOURS.search(each)), "opening hours")
    no_subject = place.heading == place.page or HOURS.search(place.heading) or WHERE_TO.search(place.heading)
    return place.topic if no_subject else place.heading or place.topic, relations.on_day(lowered(called), day)


def _told_by_form(key: str, value: str) -> Relation | None:
    """The relation that a value's form tells, where the key is what it is of and not what it is."""
    for form, name, latest in ((MONEY, "price", 20), (PHONE, "phone number", 0), (EMAIL, "email", 0)):
        if (found := form.search(value)) and found.start() <= latest:
            return None if relations.is_kind(key) or "number" in key.lower() else relations.noun(name)
    return None


def _table(block: Block, place: Place) -> Iterator[Fact]:
    header, *rows = [tuple(IN_BRACKETS.sub("", name) for name in block.rows[0]), *block.rows[1:]]
    if len(header) == 2 and not any(header):  # two columns without names are keys and values
        for key, value in ((row[0].rstrip(":"), row[1]) for row in rows if len(row) == 2):
            yield from _pair(key, value, place) if value and _is_key(key) else ()
        return
    for row in rows:
        for column, cell in list(zip(header, row, strict=False))[1:]:
            if cell and row[0] and _is_key(column) and cell not in "-–—":
                yield Fact(*_cell(row[0], header[0], column, cell, place), cell, "table", place.source)


def _cell(name: str, kind: str, column: str, cell: str, place: Place) -> tuple[str, Relation]:
    if HANGUL.search(column):
        return name, relations.noun_ko(column)
    if WEEKDAY.match(name):
        return _hours(column, name, place if HOURS.search(column) else place._replace(heading="", topic=column))
    name = IN_BRACKETS.sub("", name) or name
    if len(name.split()) == 1 and not HANGUL.search(name):  # a single word may be anything's
        kind = kind if kind and len(kind.split()) == 1 else place.heading
        name = name if kind.lower() in name.lower() else f"{name} {kind.lower()}"
    amount = MONEY.search(cell) and not relations.is_kind(column)
    return name, relations.noun(f"{lowered(column)} price" if amount else lowered(column))


# --- together ---


def _is_usable(fact: Fact) -> bool:
    texts = (fact.subject, fact.relation.name, fact.object)
    return (
        all(map(is_usable, texts))
        and len(fact.subject) <= MAX_SUBJECT
        and len(fact.object) <= MAX_OBJECT
        and fact.subject.lower() != fact.object.lower()
    )


def _agreed(facts: Iterable[Fact]) -> list[Fact]:
    """Each fact once, and none of which the pages say two things."""
    found: dict[tuple[str, str], dict[str, Fact]] = {}
    for each in facts:
        fact = each._replace(subject=one_line(each.subject), object=one_line(each.object))
        found.setdefault((fact.subject.lower(), fact.relation.name), {}).setdefault(fact.object.lower(), fact)
    return [next(iter(same.values())) for same in found.values() if len(same) == 1]
