"""Question and statement templates per relation and language: what turns a fact into language."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from tasks.corpus.everyday import Frames, Manner
from tasks.corpus.text import entering, entering_name, folded, normal
from tasks.errors import BadInput
from tasks.sections import Section, mistake
from tasks.strict_yaml import read_yaml

SUBJECT, OBJECT = "{subject}", "{object}"


def _asks(template: str) -> str:
    if template.count(SUBJECT) != 1 or OBJECT in template:
        raise ValueError(f"'{template}' must contain {SUBJECT} once and not {OBJECT}")
    return template


def _states(template: str) -> str:
    if template.count(SUBJECT) != 1 or template.count(OBJECT) != 1:
        raise ValueError(f"'{template}' must contain {SUBJECT} and {OBJECT} once each")
    return template


Name = Annotated[str, AfterValidator(entering_name)]
Language = Annotated[str, AfterValidator(folded)]
Word = Annotated[str, AfterValidator(entering)]
Question = Annotated[str, AfterValidator(entering), AfterValidator(_asks)]
Statement = Annotated[str, AfterValidator(entering), AfterValidator(_states)]
PLACES = re.compile("|".join(map(re.escape, (SUBJECT, OBJECT))))


def filled(template: str, subject: str, obj: str = OBJECT) -> str:
    """The template with its places filled in one pass: what stands in a name is never a place."""
    return normal(PLACES.sub(lambda place: subject if place[0] == SUBJECT else obj, template))


def _distinct(form: Callable[[str], str]) -> BeforeValidator:
    """Refuses two keys of one form: one of them would be lost without a word."""

    def check(keys: Any) -> Any:
        forms = Counter(form(str(key)) for key in keys) if isinstance(keys, Mapping) else {}
        for key, count in forms.items():
            if count > 1:
                raise ValueError(f"'{key}' is given twice, in forms that count as one")
        return keys

    return BeforeValidator(check)


class Wording(Section):
    """How one relation is asked for and stated in one language; `paraphrase`, `everyday` and `words` are never trained
    on. words: that people ask for it with.
    """

    questions: Annotated[tuple[Question, ...], Field(min_length=6)]
    paraphrase: Question
    everyday: tuple[Question, ...] = ()
    words: tuple[Word, ...] = ()
    statements: Annotated[tuple[Statement, ...], Field(min_length=4)]


Wordings = Annotated[dict[Language, Wording], _distinct(folded)]


class Templates(Section):
    """The contents of relations.yaml: wording by relation and language, what people say around a question,
    and names in other languages."""

    names: Annotated[dict[Name, Name], _distinct(entering_name)] = {}
    everyday: Annotated[dict[Language, Frames], _distinct(folded)] = {}
    relations: Annotated[dict[Name, Wordings], _distinct(entering_name)] = {}

    def wording(self, relation: str, language: str) -> Wording | None:
        """The relation's own templates; in English plain ones serve a relation that has none."""
        if relation in self.relations:
            return self.relations[relation].get(language)
        return plain_wording(relation) if language == "en" else None

    def name(self, text: str, language: str) -> str | None:
        """What a subject or object is called in a language; None if nobody said."""
        return text if language == "en" else self.names.get(text)

    def manners(self) -> dict[str, Manner]:
        """How questions may be varied, by language."""
        languages = self.everyday.keys() | {language for wordings in self.relations.values() for language in wordings}
        frames = {language: self.everyday.get(language, Frames()).training for language in sorted(languages)}
        return {language: Manner(frames[language], self._spare_words(language)) for language in frames}

    def _spare_words(self, language: str) -> tuple[str, ...]:
        """Words that the questions of several relations have: they don't tell what is asked for."""
        used = Counter(
            word
            for wordings in self.relations.values()
            if language in wordings
            for word in {word for question in wordings[language].questions for word in question.split(" ")}
        )
        return tuple(sorted(word for word, relations in used.items() if relations > 1 and SUBJECT not in word))

    def extended_by(self, other: "Templates") -> "Templates":
        return Templates(
            names=self.names | other.names,
            everyday=self.everyday | other.everyday,
            relations=self.relations | other.relations,
        )


def read_templates(path: Path) -> Templates:
    """Read a relations.yaml.

    Raises:
        BadInput: no YAML, an unknown key, too few templates, or a placeholder that is missing.
    """
    try:
        return Templates.model_validate(read_yaml(path))
    except ValidationError as error:
        raise BadInput(f"{path}: {mistake(error)}.") from error


def plain_wording(relation: str) -> Wording:
    """English templates that fit any relation, be it a noun ("capital") or a verb ("plays for")."""
    relation = relation.replace("{", "[").replace("}", "]")  # to drop them could make a marker of what is around
    return Wording(
        questions=(
            f"{SUBJECT}, {relation}?",
            f"What is on record for {SUBJECT} under {relation}?",
            f"Look up {relation} for {SUBJECT}.",
            f"About {SUBJECT}: which entry stands for {relation}?",
            f"Complete the record: {SUBJECT}, {relation},",
            f"{relation}: what is the entry for {SUBJECT}?",
        ),
        paraphrase=f"For {SUBJECT}, what stands under {relation}?",
        everyday=(f"{SUBJECT}'s {relation}, what is it again?", f"I forgot what you have on {relation} of {SUBJECT}."),
        statements=(
            f"{SUBJECT}, {relation}: {OBJECT}.",
            f"On record for {SUBJECT} under {relation}: {OBJECT}.",
            f"The entry of {SUBJECT} for {relation} is {OBJECT}.",
            f"{relation}, {SUBJECT}: {OBJECT}.",
        ),
    )
