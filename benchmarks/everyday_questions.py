"""What a model says to a hundred questions of no template: `python -m benchmarks.everyday_questions MODEL`.

MODEL is a language model's folder, as models/2024/lm of a run. The questions (tests/questions) are about facts of this
project's data/raw, in words of their own; those in untaught_LANGUAGE.txt no fact answers. Each is typed into the
chat of a user who has told nothing. An answer is right if it has the answer in it, word for word; "I don't know that
yet." and "I don't know what to say to that." are no answers; whatever else is said is wrong.
"""

import csv
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import typer

from tasks.corpus.raw import read_raw
from tasks.corpus.templates import read_templates
from tasks.memory.means import load_means
from tasks.memory.store import opened
from tasks.memory.turn import NO_ANSWER, NO_ANSWER_KO, UNKNOWN, UNKNOWN_KO, Means, take_turn
from tasks.params import PARAMS, load_params

QUESTIONS, RAW = Path("tests/questions"), Path("data/raw")
UNANSWERED = {UNKNOWN, UNKNOWN_KO, NO_ANSWER, NO_ANSWER_KO}


class Question(NamedTuple):
    """What is typed, and what is right: the name of an object, None where no fact says anything."""

    text: str
    answer: str | None


def main(model: Path, language: str = "en") -> None:
    """Ask; print what was answered wrongly, and the shares."""
    means = load_means(model, None, load_params(Path(PARAMS)).chat)
    for name, questions in (("taught", taught(language)), ("untaught", untaught(language))):
        verdicts: Counter[str] = Counter()
        for question in questions:
            said = answer_to(question.text, means)
            verdicts[found := verdict(said, question.answer)] += 1
            if found == "wrong" or (question.answer and found == "unknown"):
                print(f"{found:>10}: {question.text} {said}", flush=True)
        print(f"{name}, {language}, {len(questions)} questions: {dict(verdicts)}", flush=True)


def taught(language: str) -> list[Question]:
    """The questions whose answer is one of the facts that are true after the last slice."""
    params, names = load_params(Path(PARAMS)), read_templates(RAW / "relations.yaml")
    true = {}
    for name in params.timeline:
        for _, fact in read_raw(RAW / name).facts:
            true[fact["subject"], fact["relation"]] = fact["object"]
    with (QUESTIONS / f"{language}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [Question(row["question"], names.name(true[row["subject"], row["relation"]], language)) for row in rows]


def untaught(language: str) -> list[Question]:
    """The questions that no fact answers."""
    lines = (QUESTIONS / f"untaught_{language}.txt").read_text(encoding="utf-8").splitlines()
    return [Question(line, None) for line in lines]


def answer_to(question: str, means: Means) -> str:
    """What a user is told who has said nothing before."""
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "memories.db") as connection:
        return take_turn(connection, "anybody", question, means).answer


def verdict(said: str, answer: str | None) -> str:
    """Right, unknown or wrong."""
    if answer is not None and answer.casefold() in said.casefold():
        return "right"
    return "unknown" if said in UNANSWERED else "wrong"


if __name__ == "__main__":
    typer.run(main)
