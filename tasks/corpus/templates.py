"""Question and statement templates per relation and language: what turns a fact into language."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationError

from tasks.corpus.everyday import Frames, Manner
from tasks.corpus.plain import plain_wording
from tasks.corpus.text import entering_name, folded, normal
from tasks.corpus.wording import OBJECT, SUBJECT, Wording
from tasks.errors import BadInput
from tasks.sections import Section, mistake
from tasks.strict_yaml import read_yaml

Name = Annotated[str, AfterValidator(entering_name)]
Language = Annotated[str, AfterValidator(folded)]
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
