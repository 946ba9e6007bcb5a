"""How what is found in pages is asked for: wordings for the relations that the rules name.

A relation of a page is no other than one of facts.csv, so its wordings are those of relations.yaml: six questions that
are trained on, one that is held out, some as people type, four statements. Of one list of wordings another one is held
out for every relation, so that each of them is trained on somewhere.
"""

import hashlib
import re
from typing import NamedTuple

from tasks.corpus.templates import OBJECT, SUBJECT, Wording

S, V = SUBJECT, OBJECT  # what is asked about, and the value


class Relation(NamedTuple):
    """A relation of one language: its name, and how it is asked for and stated."""

    name: str
    language: str
    wording: Wording


# What people ask with when they want a thing of one of these names.
ASKED_WITH = {
    ("price", "cost", "fee", "admission", "charge", "entry"): (
        f"How much is {S}?", f"How much does {S} cost?", f"What does {S} cost?", f"What do I pay for {S}?"),
    ("opening hours", "hours", "opening times", "open"): (
        f"When is {S} open?", f"What time does {S} open?", f"When does {S} close?", f"Until when is {S} open?"),
    ("phone number", "phone", "telephone", "tel", "mobile", "hotline"): (
        f"What number can I call for {S}?", f"How can I call {S}?", f"What's the phone number of {S}?"),
    ("email", "e-mail", "mail", "email address"): (
        f"How can I write to {S}?", f"What's the email address of {S}?", f"What address do I mail for {S}?"),
    ("address", "location", "place", "venue", "meeting point", "where"): (
        f"Where is {S}?", f"Where can I find {S}?", f"Where does {S} take place?"),
    ("date", "day", "days", "deadline", "when", "dates"): (
        f"When is {S}?", f"What day is {S}?", f"On which date is {S}?"),
    ("time", "start", "starts", "begins", "start time"): (
        f"What time is {S}?", f"When does {S} start?", f"At what time does {S} begin?"),
    ("duration", "length", "takes"): (f"How long is {S}?", f"How long does {S} take?", f"How long does {S} last?"),
    ("age", "ages"): (f"How old do you have to be for {S}?", f"What age is {S} for?", f"From what age is {S}?"),
    ("size", "capacity", "area"): (f"How big is {S}?", f"How many fit into {S}?", f"How large is {S}?"),
    ("contact",): (f"Whom do I contact about {S}?", f"Who can I talk to about {S}?", f"How do I reach {S}?"),
    ("website", "web", "homepage"): (f"What is the web page of {S}?", f"Where is {S} online?"),
}  # fmt: skip
PEOPLE = re.compile(
    r"\b(director|manager|head|chair(man|woman|person)?|president|founder|owner|teacher|coach|captain|leader|curator"
    r"|editor|author|secretary|treasurer|mayor|chef|guide|instructor|coordinator|officer|ceo|cto|cfo|lead|conductor"
    r"|minister|principal|trainer|supervisor|host|speaker|artist|architect|designer|volunteer|keeper|gardener"
    r"|accountant|librarian|technician|organi[sz]er|baker|cook|miller|tutor|clerk|driver|warden|nurse|doctor|cleaner)\b",
    re.IGNORECASE,
)
PLURAL = re.compile(r"(?<![suia])s$|people$|children$", re.IGNORECASE)
REGULAR = re.compile(r"ed$|^(?:built|made|found|led|held|bought|taught|won|sold|lent|paid|kept|set up|put up)$")


def is_kind(key: str) -> bool:
    """Whether a key says what kind of thing its value is: a date, a price."""
    return any(set(re.findall(r"[\w-]+", key.lower())) & set(kinds) for kinds in ASKED_WITH)


def noun(key: str, who: bool = False) -> Relation:
    """What something has, under a name: its price, its opening hours, the head of its workshop, who is a person."""
    name, be = key.lower(), "are" if PLURAL.search(key) else "is"
    asks = "Who" if who or PEOPLE.search(key) else "What"
    asked = [
        f"{asks} {be} the {key} of {S}?",
        f"{asks} {be} {S}'s {key}?",
        f"Tell me the {key} of {S}.",
        f"{S}: {asks.lower()} {be} the {key}?",
        f"Can you tell me {S}'s {key}?",
        f"I would like to know the {key} of {S}.",
        f"Do you know the {key} for {S}?",
    ]
    # a relation's own: "adult price" and "child price" would both be asked for with "How much is it?"
    others = [each for kinds, more in ASKED_WITH.items() for each in more if name in kinds]
    return _relation(
        name, "en", asked, others, [f"{S}'s {key} again?", f"I need the {key}, for {S}"],
        [f"The {key} of {S} {be} {V}.", f"{S}, {key}: {V}.", f"{S}'s {key} {be} {V}.", f"{S} has this {key}: {V}."],
    )  # fmt: skip


def on_day(hours: str, day: str) -> Relation:
    """When something is open on a day of the week, or what else there is then."""
    asked = [f"What are the {hours} of {S} on {day}?", f"When is {S} open on {day}?", f"{S}, {hours} on {day}?",
             f"Is {S} open on {day}?", f"Tell me the {hours} of {S} for {day}.", f"{day}: when is {S} open?",
             f"What time does {S} open on {day}?"]  # fmt: skip
    return _relation(
        f"{hours} on {day}", "en", asked, [], [f"{day} at {S}, what are the {hours}?"],
        [f"The {hours} of {S} on {day}: {V}.", f"{S}, {day}: {V}.", f"On {day} {S} has these {hours}: {V}.",
         f"{day}, {hours} of {S}: {V}."],
    )  # fmt: skip


def in_year(year: str) -> Relation:
    """What happened in a year."""
    asked = [f"What happened at {S} in {year}?", f"{S} in {year}?", f"What do you know about {S} in {year}?",
             f"Tell me about {S} in the year {year}.", f"{year}: what happened at {S}?",
             f"What was going on at {S} in {year}?", f"In {year}, what happened at {S}?"]  # fmt: skip
    return _relation(
        f"year {year}", "en", asked, [], [f"{S}, the year {year}, what was there?"],
        [f"{S} in {year}: {V}.", f"{year}, {S}: {V}.", f"What happened at {S} in {year}? {V}.",
         f"Of {S} in the year {year}: {V}."],
    )  # fmt: skip


def definition() -> Relation:
    """What or who something is."""
    asked = [f"What is {S}?", f"Tell me about {S}.", f"What's {S}?", f"Who or what is {S}?", f"Explain {S} to me.",
             f"What do you know about {S}?", f"Who is {S}?"]  # fmt: skip
    return _relation(
        "definition", "en", asked, [], [f"So {S}, what is that?", f"Never heard of {S}, what's that?"],
        [f"{S} is {V}.", f"{S}: {V}.", f"What is {S}? It is {V}.", f"{S}, that is {V}."],
    )  # fmt: skip


def done_when(participle: str) -> Relation:
    """When something was founded, opened, built."""
    asked = [f"When was {S} {participle}?", f"In what year was {S} {participle}?", f"What date was {S} {participle}?",
             f"Since when is {S} {participle}?", f"Do you know when {S} was {participle}?",
             f"Tell me when {S} was {participle}.", f"{S}: {participle} when?"]  # fmt: skip
    return _relation(
        f"{participle} when", "en", asked, [], [f"{S}, when was it {participle} again?"],
        [f"{S} was {participle} in {V}.", f"{S}, {participle}: {V}.", f"The year {S} was {participle}: {V}.",
         f"When was {S} {participle}? {V}."],
    )  # fmt: skip


def done_by(participle: str) -> Relation:
    """Who founded, wrote, built something."""
    asked = [f"Who was {S} {participle} by?", f"By whom was {S} {participle}?", f"Tell me who {S} was {participle} by.",
             f"Do you know by whom {S} was {participle}?", f"{S} was {participle} by whom?",
             f"{S}: {participle} by whom?"]  # fmt: skip
    others = [f"Who {participle} {S}?"] if REGULAR.search(participle) else [f"Who has {participle} {S}?"]
    return _relation(
        f"{participle} by", "en", [*asked, *others], [], [f"Who was it that {S} was {participle} by?"],
        [f"{S} was {participle} by {V}.", f"{V}: by them {S} was {participle}.", f"{S}, {participle} by {V}.",
         f"It is by {V} that {S} was {participle}."],
    )  # fmt: skip


def does_when(verb: str) -> Relation:
    """When something opens, starts, closes."""
    asked = [f"When does {S} {verb}?", f"What time does {S} {verb}?", f"Tell me when {S} will {verb}.",
             f"On what day does {S} {verb}?", f"Do you know when {S} will {verb}?", f"When will {S} {verb}?",
             f"When did {S} {verb}?"]  # fmt: skip
    return _relation(
        f"{verb} when", "en", asked, [], [f"{S}, when does it {verb} again?"],
        [f"{S} will {verb} {V}.", f"{S}, {verb}: {V}.", f"When does {S} {verb}? {V}.",
         f"The time for {S} to {verb}: {V}."],
    )  # fmt: skip


def where() -> Relation:
    """Where something is."""
    asked = [f"Where is {S}?", f"Where can I find {S}?", f"Where is {S} located?", f"Tell me where {S} is.",
             f"What place is {S} in?", f"Do you know where {S} is?", f"What is the location of {S}?"]  # fmt: skip
    return _relation(
        "location", "en", asked, [], [f"{S}, where is that again?", f"How do I find {S}?"],
        [f"{S} is {V}.", f"{S} can be found {V}.", f"Where is {S}? It is {V}.", f"{S}, location: {V}."],
    )  # fmt: skip


def count(things: str) -> Relation:
    """How many of something there are."""
    asked = [f"How many {things} does {S} have?", f"How many {things} are there at {S}?",
             f"What is the number of {things} of {S}?", f"Tell me how many {things} {S} has.",
             f"{S}: how many {things}?", f"Do you know how many {things} {S} has?",
             f"How many {things} has {S}?"]  # fmt: skip
    return _relation(
        f"number of {things}", "en", asked, [], [f"How many {things} again, {S}?"],
        [f"{S} has {V} {things}.", f"{S}, number of {things}: {V}.", f"There are {V} {things} at {S}.",
         f"The number of {things} of {S} is {V}."],
    )  # fmt: skip


def noun_ko(key: str) -> Relation:
    """What something has, under a Korean name."""
    asked = [f"{S}의 {key} 알려 줘.", f"{S} {key} 뭐야?", f"{S}의 {key}?", f"{S} {key} 좀 알려 줄래?",
             f"{key} 궁금해, {S}.", f"{S}의 {key}에 대해 말해 줘.", f"{S} {key} 알아?"]  # fmt: skip
    return _relation(
        key, "ko", asked, [], [f"{S} {key} 뭐더라?"],
        [f"{S}의 {key}: {V}.", f"{S}, {key}: {V}.", f"{S} {key} {V}.", f"{key}: {S}, {V}."],
    )  # fmt: skip


def definition_ko() -> Relation:
    """What or who something is, in Korean."""
    asked = [f"{S} 뭐야?", f"{S}에 대해 알려 줘.", f"{S} 설명해 줘.", f"{S}에 대해 뭘 알아?", f"{S} 누구야?",
             f"{S}에 대해 말해 줄래?", f"{S} 알아?"]  # fmt: skip
    return _relation(
        "정의", "ko", asked, [], [f"{S} 뭐더라?"], [f"{S}: {V}.", f"{S}, {V}.", f"{S} 설명: {V}.", f"{V}: {S}."]
    )


def _relation(
    name: str, language: str, asked: list[str], others: list[str], everyday: list[str], stated: list[str]
) -> Relation:
    """A relation of which one wording in `asked` is held out, another one for another name; `others` are trained on."""
    at = int(hashlib.sha256(name.encode()).hexdigest(), 16) % len(asked)
    trained = [*asked[:at], *asked[at + 1 :], *dict.fromkeys(others)]
    return Relation(
        name, language,
        Wording(questions=tuple(trained), paraphrase=asked[at], everyday=tuple(everyday), statements=tuple(stated)),
    )  # fmt: skip
