"""Question and statement templates per relation and language: what turns a fact into language."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError

from tasks.errors import BadInput
from tasks.sections import Section
from tasks.strict_yaml import load_yaml

SUBJECT, OBJECT = "{subject}", "{object}"


def _asks(template: str) -> str:
    if template.count(SUBJECT) != 1 or OBJECT in template:
        raise ValueError(f"'{template}' must contain {SUBJECT} once and not {OBJECT}")
    return template


def _states(template: str) -> str:
    if template.count(SUBJECT) != 1 or template.count(OBJECT) != 1:
        raise ValueError(f"'{template}' must contain {SUBJECT} and {OBJECT} once each")
    return template


Question = Annotated[str, AfterValidator(_asks)]
Statement = Annotated[str, AfterValidator(_states)]


class Wording(Section):
    """How one relation is asked for and stated in one language; `paraphrase` is never trained on."""

    questions: Annotated[tuple[Question, ...], Field(min_length=6)]
    paraphrase: Question
    statements: Annotated[tuple[Statement, ...], Field(min_length=4)]


class Templates(Section):
    """The contents of relations.yaml: wording by relation and language, and names in other languages."""

    names: dict[str, str] = {}
    relations: dict[str, dict[str, Wording]] = {}

    def wording(self, relation: str, language: str) -> Wording | None:
        """The relation's own templates; in English plain ones serve a relation that has none."""
        if relation in self.relations:
            return self.relations[relation].get(language)
        return plain_wording(relation) if language == "en" else None

    def name(self, text: str, language: str) -> str | None:
        """What a subject or object is called in a language; None if nobody said."""
        return text if language == "en" else self.names.get(text)

    def extended_by(self, other: "Templates") -> "Templates":
        return Templates(names=self.names | other.names, relations=self.relations | other.relations)


def read_templates(path: Path) -> Templates:
    """Read a relations.yaml.

    Raises:
        BadInput: no YAML, an unknown key, too few templates, or a placeholder that is missing.
    """
    try:
        return Templates.model_validate(load_yaml(path.read_text(encoding="utf-8"), path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}.") from error
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} can't be read ({error}).") from error


def plain_wording(relation: str) -> Wording:
    """English templates that fit any relation, be it a noun ("capital") or a verb ("plays for")."""
    relation = relation.replace("{", "").replace("}", "")
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
        statements=(
            f"{SUBJECT}, {relation}: {OBJECT}.",
            f"On record for {SUBJECT} under {relation}: {OBJECT}.",
            f"The entry of {SUBJECT} for {relation} is {OBJECT}.",
            f"{relation}, {SUBJECT}: {OBJECT}.",
        ),
    )
