"""How what is found in pages is asked for: wordings for the relations that the rules name.

A relation of a page is no other than one of facts.csv, so its wordings are those of relations.yaml: six questions that
are trained on, one that is held out, some as people type, four statements. Of one list of wordings another one is held
out for every relation, so that each of them is trained on somewhere.
"""

import re
from typing import NamedTuple

from tasks.corpus.plain import ASKED_WITH, S, V, held_out, noun_wording
from tasks.corpus.wording import Wording


class Relation(NamedTuple):
    """A relation of one language: its name, and how it is asked for and stated."""

    name: str
    language: str
    wording: Wording


REGULAR = re.compile(r"ed$|^(?:built|made|found|led|held|bought|taught|won|sold|lent|paid|kept|set up|put up)$")


def is_kind(key: str) -> bool:
    """Whether a key says what kind of thing its value is: a date, a price."""
    return any(set(re.findall(r"[\w-]+", key.lower())) & set(kinds) for kinds in ASKED_WITH)


def noun(key: str, who: bool = False) -> Relation:
    """What something has, under a name: its price, its opening hours, the head of its workshop, who is a person."""
    return Relation(key.lower(), "en", noun_wording(key, who))


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
    return Relation(name, language, held_out(name, asked, others, everyday, stated))
