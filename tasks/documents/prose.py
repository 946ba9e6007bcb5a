"""What sentences tell of a thing, by their form: what it is, who founded it and when, what it costs, where it is, how
many of what it has, when it opens, what happened in a year.

A sentence fits a form as a whole or is left alone; a form that is looked for loosely would find nonsense. Of Korean
only "X는 Y이다" is known.
"""

import re
from collections.abc import Callable, Iterator

from tasks.corpus.plain import PEOPLE
from tasks.corpus.text import one_line
from tasks.documents import relations
from tasks.documents.passages import sentences
from tasks.documents.telling import (
    HANGUL,
    JOINED,
    MAX_OBJECT,
    MONEY,
    MONTHS,
    SEASONS,
    WHEN,
    Fact,
    Place,
    article_off,
    is_name,
)

LONGEST_SUBJECT = 9  # words
BACK, OURS = {"it", "they", "he", "she"}, {"we", "us"}
OTHER_BEGINNINGS = """
    this these that those there here what who which you i one all some most both each everyone everything nothing if
    when where how why but and or so on in at from for after before with since by during as to his her its their my not
    no nobody now then until through behind under above near another any every many several only please last your half
    about us me them him today tomorrow yesterday tonight soon later"""
NO_BEGINNING = frozenset(OTHER_BEGINNINGS.split())
NO_SUBJECT = re.compile(
    r"\b(?:is|are|was|were|be|been|will|would|has|have|had|can|could|must|should|may|might|that|which|who|whose|we|you"
    r"|they|he|she|it|then|therefore|also|because|although|but|planned|going|please)\b|[\"“”]"
)
PRONOUN = re.compile(r"(?:He|She|It|They|This|That|These|Those|His|Her|Its|Their|But|And|So)\b")

ABOUT = r"(?P<subject>[^,;:()]{2,80}?)"
BE = r"(?:is|are|was|were)"
DATE = rf"(?P<when>(?:{MONTHS}|\d|{SEASONS}|early|late)[^,;.()]{{0,40}}?)"
END = r"(?=$|[,;.()]|\s+(?:in|on|at|by|when|after|before|as|with|for|from|and|but|who|which|that|because|to|until)\b)"
NUMBER = r"(?:\d[\d,.]*|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty)"
THING = r"(?!(?:\S+ ){0,3}(?:and|by|too|that|which|who|to) )[a-z][a-z-]+(?: [a-z][a-z-]+){0,3}?"
ROLE_OF = r"(?: (?:of|at|for) (?P<of>[A-Za-z][^,;()]{1,59}?))?"
DOES_VERBS = {
    "opens": "open", "closes": "close", "starts": "start", "begins": "begin", "ends": "end", "runs": "run",
    "meets": "meet", "leaves": "leave", "departs": "depart", "arrives": "arrive", "finishes": "finish",
    "takes place": "take place", "is open": "open", "are open": "open", "open": "open", "close": "close",
    "start": "start", "begin": "begin", "meet": "meet", "take place": "take place", "opened": "open",
    "closed": "close", "started": "start", "began": "begin", "ended": "end", "is closed": "close",
    "are closed": "close",
}  # fmt: skip
PAST = """
    built rebuilt bought founded sold restored opened closed repaired added installed started painted designed
    discovered invented acquired donated planted published launched created moved destroyed"""
DID = {each: each for each in PAST.split()} | {"gave": "given", "wrote": "written"}  # and its participle

WHAT = re.compile(rf"{ABOUT} {BE} (?P<object>(?:an?|the|one of|our) .+)")
ROLE = re.compile(
    r"(?:the|our) (?P<role>[a-z][a-z -]{2,38}?)(?: (?:of|at|for) (?P<of>(?:the )?[A-Z][^,;()]*))?(?:$|[,;(])"
)
THE_ROLE = re.compile(rf"(?:The|Our) (?P<role>{THING}){ROLE_OF} {BE} (?P<object>.+)")
OWNED = re.compile(rf"(?P<subject>.{{2,60}}?)['’]s? (?P<role>{THING}) {BE} (?P<object>.+)")
DONE = re.compile(
    rf"{ABOUT} (?:was|were|has been|have been) (?P<done>[a-z]+(?:ed|t|en|[wuo]n|ld|de|nd)(?: up| out)?)\b(?P<rest>.*)"
)
DATED = re.compile(rf"\b(?:in|on|since) {DATE}{END}")
BEGINS_DATED = re.compile(
    rf"(?:In|On) (?P<when>(?:{MONTHS}|\d\w*|{SEASONS}|early|late)"
    rf"(?:,? (?:{MONTHS}|\d\w*|{SEASONS}))*)\b"
)
BY = re.compile(rf"\bby (?P<who>{JOINED}{{0,5}}){END}")
ACTIVE = re.compile(
    rf"(?P<who>{JOINED}{{1,5}}) (?P<did>{'|'.join(DID)}) (?P<object>(?:the |an? )?[^,;.()]{{2,50}}?){END}"
)
DOES = re.compile(
    rf"{ABOUT} (?P<verb>{'|'.join(sorted(DOES_VERBS, key=len, reverse=True))})"
    r" (?P<when>(?:at|on|in|from|every|each|daily|until|by|all)\b.{2,80})"
)
COSTS = re.compile(r"(?P<subject>[^;:()]{2,80}?) costs? (?P<object>.+)")
AMOUNT_ENDS = re.compile(r" and |,(?!\d)|;")
PLACED = re.compile(
    rf"{ABOUT} (?:is|are|lies|lie|stands|stand|sits) (?:located |based |situated |found )?"
    r"(?P<object>(?:in|on|at|next to|behind|near|opposite|beside|above|below|under|between|along)"
    r" (?=(?:the|an?|our|your|its)\b|[A-Z\d]).+)"  # "on track" is no place
)
HAS = re.compile(
    rf"{ABOUT} (?:has|have|had|holds?|offers?|employs?|includes?|contains?|owns?|keeps?|seats?) "
    rf"(?:about |around |over |more than |up to |some |exactly )?(?P<object>{NUMBER}) "
    r"(?P<things>[a-z][a-z-]*(?: [a-z][a-z-]*){0,2}?)"
    r"(?=$|[,;.()]| (?:in|on|at|for|of|from|with|and|that|which|who|to|by|per|as)\b)"
)
YEAR = re.compile(r"\b(1\d{3}|20\d\d)\b")
IS_KO = re.compile(r"(?P<subject>[^,.]{1,40}?)(?:은|는) (?P<object>.{2,150}?)(?:입니다|이다|예요|이에요)")

Subject = Callable[[str], str]


def facts_of_prose(text: str, place: Place, last: str) -> Iterator[Fact]:
    """What the sentences of a paragraph tell. last: what an "it" in the first of them is."""
    for sentence in sentences(one_line(text)):
        bare = re.sub(r"[.!]+$", "", sentence).strip()
        if HANGUL.search(bare):
            if match := IS_KO.fullmatch(bare):
                yield Fact(match["subject"], relations.definition_ko(), match["object"], "what it is", place.source)
            continue
        for fact in _of_sentence(bare, place, last):
            yield fact
            if fact.rule not in ("role", "year"):
                last = fact.subject


def _of_sentence(text: str, place: Place, last: str) -> Iterator[Fact]:
    def subject_of(words: str) -> str:
        return _subject(words, place, last)

    for rule, found in _FORMS.items():
        facts = [Fact(*each, rule, place.source) for each in found(text, place, subject_of) if each[0]]
        yield from facts
        if facts and rule not in ("role", "what it is"):
            return


Told = Iterator[tuple[str, relations.Relation, str]]


def _roles(text: str, place: Place, subject_of: Subject) -> Told:
    """ "Ann Lee is the head of the workshop", "The treasurer is Ann Lee", "The hall's keeper is Ann Lee"."""
    if (match := WHAT.fullmatch(text)) and is_name(match["subject"]):
        role = ROLE.match(match["object"])
        if role and PEOPLE.search(role["role"]):
            of = article_off(role["of"]) if role["of"] else place.topic
            yield of, relations.noun(role["role"]), match["subject"]
    if (match := THE_ROLE.fullmatch(text)) and _is_value(match["object"]):
        yield subject_of(match["of"]) if match["of"] else place.topic, relations.noun(match["role"]), match["object"]
    elif (match := OWNED.fullmatch(text)) and _is_value(match["object"]):
        yield subject_of(match["subject"]), relations.noun(match["role"]), match["object"]


def _what(text: str, place: Place, subject_of: Subject) -> Told:
    if (match := WHAT.fullmatch(text)) and not THE_ROLE.fullmatch(text):
        yield subject_of(match["subject"]), relations.definition(), match["object"]


def _done(text: str, place: Place, subject_of: Subject) -> Told:
    if not (match := DONE.match(text)):
        return
    subject = subject_of(match["subject"])
    if when := DATED.search(match["rest"]):
        yield subject, relations.done_when(match["done"]), when["when"]
    if by := BY.search(match["rest"]):
        yield subject, relations.done_by(match["done"]), by["who"]


def _did(text: str, place: Place, subject_of: Subject) -> Told:
    """ "In 1931 Sara Lunde bought the old hall"."""
    when = BEGINS_DATED.match(text) or DATED.search(text)
    if when and (match := ACTIVE.search(text)):
        yield subject_of(match["object"]), relations.done_when(DID[match["did"]]), when["when"]
        yield subject_of(match["object"]), relations.done_by(DID[match["did"]]), match["who"]


def _does(text: str, place: Place, subject_of: Subject) -> Told:
    if (match := DOES.fullmatch(text)) and WHEN.search(match["when"]):
        yield subject_of(match["subject"]), relations.does_when(DOES_VERBS[match["verb"]]), match["when"]


def _costs(text: str, place: Place, subject_of: Subject) -> Told:
    if (match := COSTS.fullmatch(text)) and MONEY.search(amount := AMOUNT_ENDS.split(match["object"])[0]):
        yield subject_of(match["subject"]), relations.noun("price"), amount


def _has(text: str, place: Place, subject_of: Subject) -> Told:
    if match := HAS.match(text):
        yield subject_of(match["subject"]), relations.count(match["things"]), match["object"]


def _placed(text: str, place: Place, subject_of: Subject) -> Told:
    if (match := PLACED.fullmatch(text)) and not WHEN.match(match["object"].partition(" ")[2]):
        yield subject_of(match["subject"]), relations.where(), match["object"]


def _year(text: str, place: Place, subject_of: Subject) -> Told:
    years = YEAR.findall(text)
    if len(years) == 1 and len(text) <= MAX_OBJECT and text[:1].isupper() and not PRONOUN.match(text):
        yield place.topic, relations.in_year(years[0]), text


_FORMS: dict[str, Callable[[str, Place, Subject], Told]] = {
    "role": _roles,
    "what it is": _what,
    "price": _costs,
    "done": _done,
    "did": _did,
    "when": _does,
    "how many": _has,
    "where": _placed,
    "year": _year,
}


def _subject(words: str, place: Place, last: str) -> str:
    """What the beginning of a sentence stands for; "" if that can't be told."""
    form = one_line(words).lower()
    if form in BACK:
        return last
    if form in OURS:
        return place.ours
    if form.split(" ", 1)[0] in NO_BEGINNING or len(form.split()) > LONGEST_SUBJECT or NO_SUBJECT.search(form):
        return ""
    return article_off(words)


def _is_value(text: str) -> bool:
    """Whether something is said that can be asked for: a name, a number, an amount; not how or where something is."""
    return bool(re.match(r"[\d\"“£$€₩¥+A-Z]", text))
