"""How a relation is asked for and stated that nobody has written templates for: plain English, from its name alone."""

import hashlib
import re

from tasks.corpus.wording import OBJECT, SUBJECT, Wording

S, V = SUBJECT, OBJECT  # what is asked about, and the value
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
BEHIND = re.compile(
    r"(?P<first>\w+) (?P<rest>(?:.* )?(?:as|at|by|for|from|in|into|of|on|to|under|with))", re.IGNORECASE
)
BE = ("is", "are", "was", "were")
NO_VERB = re.compile(r"(ss|us|is)$", re.IGNORECASE)


def plain_wording(relation: str) -> Wording:
    """English templates of a relation, be it a noun ("capital", "home_ground") or end as a verb does ("plays for")."""
    name = plain_name(relation)
    if ends := BEHIND.fullmatch(name):
        return _verb_wording(name, ends["first"], ends["rest"])
    noun = noun_wording(name)
    be = "are" if PLURAL.search(name) else "is"
    more = [f"Who {be} the {name} of {S}?", f"Who {be} {S}'s {name}?", f"Do you know {S}'s {name}?", f"{S}, {name}?"]
    asked = dict.fromkeys(each for each in (*noun.questions, *more) if each != noun.paraphrase)
    return noun.model_copy(update={"questions": tuple(asked)})


def plain_name(relation: str) -> str:
    """As it stands in a sentence."""
    name = relation.replace("{", "[").replace("}", "]")  # to drop them could make a marker of what is around
    return name.replace("_", " ").strip() or name


def _verb_wording(name: str, first: str, rest: str) -> Wording:
    """Of "plays for", "is based in", "born in", "member of"."""
    if first.lower() in BE:
        be, asked_with, told = first, rest, name
    elif first.lower().endswith("s") and not NO_VERB.search(first):
        be, asked_with, told = "does", f"{_infinitive(first)} {rest}", name
    else:
        be, asked_with, told = "is", name, f"is {name}"
    asked = [
        f"Who {be} {S} {asked_with}?",
        f"What {be} {S} {asked_with}?",
        f"Which one {be} {S} {asked_with}?",
        f"Tell me what {S} {told}.",
        f"Do you know who {S} {told}?",
        f"{S} {told} what?",
        f"I would like to know what {S} {told}.",
    ]
    return held_out(
        name.lower(), asked, [f"{S}, {name}?"], [f"What was it again that {S} {told}?", f"{S} {name} ... what again"],
        [f"{S} {told} {V}.", f"{S}, {name}: {V}.", f"It is {V} that {S} {told}.", f"What {S} {told}: {V}."],
    )  # fmt: skip


def _infinitive(verb: str) -> str:
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("oes", "o")):
        if verb.endswith(ending):
            return verb.removesuffix(ending) + instead
    return verb[:-1]


def noun_wording(key: str, who: bool = False) -> Wording:
    """Of what something has, under a name: its price, its opening hours, the head of its workshop, who is a person."""
    asks = "Who" if who or PEOPLE.search(key) else "What"
    be = "are" if PLURAL.search(key) else "is"
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
    others = [each for kinds, more in ASKED_WITH.items() for each in more if key.lower() in kinds]
    return held_out(
        key.lower(), asked, others, [f"{S}'s {key} again?", f"I need the {key}, for {S}"],
        [f"The {key} of {S} {be} {V}.", f"{S}, {key}: {V}.", f"{S}'s {key} {be} {V}.", f"{S} has this {key}: {V}."],
    )  # fmt: skip


def held_out(name: str, asked: list[str], others: list[str], everyday: list[str], stated: list[str]) -> Wording:
    """A wording in which one question of `asked` is held out, another one for another name; `others` are trained on."""
    at = int(hashlib.sha256(name.encode()).hexdigest(), 16) % len(asked)
    trained = [*asked[:at], *asked[at + 1 :], *dict.fromkeys(others)]
    return Wording(questions=tuple(trained), paraphrase=asked[at], everyday=tuple(everyday), statements=tuple(stated))
