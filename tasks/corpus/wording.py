"""How one relation is asked for and stated in one language."""

from typing import Annotated

from pydantic import AfterValidator, Field

from tasks.corpus.text import entering
from tasks.sections import Section

SUBJECT, OBJECT = "{subject}", "{object}"


def _asks(template: str) -> str:
    if template.count(SUBJECT) != 1 or OBJECT in template:
        raise ValueError(f"'{template}' must contain {SUBJECT} once and not {OBJECT}")
    return template


def _states(template: str) -> str:
    if template.count(SUBJECT) != 1 or template.count(OBJECT) != 1:
        raise ValueError(f"'{template}' must contain {SUBJECT} and {OBJECT} once each")
    return template


Word = Annotated[str, AfterValidator(entering)]
Question = Annotated[str, AfterValidator(entering), AfterValidator(_asks)]
Statement = Annotated[str, AfterValidator(entering), AfterValidator(_states)]


class Wording(Section):
    """How one relation is asked for and stated in one language; `paraphrase`, `everyday` and `words` are never trained
    on. words: that people ask for it with.
    """

    questions: Annotated[tuple[Question, ...], Field(min_length=6)]
    paraphrase: Question
    everyday: tuple[Question, ...] = ()
    words: tuple[Word, ...] = ()
    statements: Annotated[tuple[Statement, ...], Field(min_length=4)]
