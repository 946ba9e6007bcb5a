"""Answers that were right or wrong, gathered into accuracies per slice and per category."""

from dataclasses import dataclass, field
from typing import Any

from tasks.corpus.slices import Examples, Row

QUESTIONS = {"seen": "accuracy", "paraphrase": "paraphrase_accuracy", "everyday": "everyday_accuracy"}  # kind: measure
Scored = list[tuple[Row, bool, float]]  # the row, whether its answer was right, how many rows it stands for


@dataclass
class Knowledge:
    """What one model answered: per slice and kind of test row (seen, paraphrase, everyday, stale), and
    perplexities.
    """

    answers: dict[tuple[str, str], Scored] = field(default_factory=dict)
    perplexity: dict[str, float | None] = field(default_factory=dict)

    def add(self, name: str, kind: str, rows: list[Row], right: list[bool], each: float = 1.0) -> None:
        """Note what was answered to a slice's rows, where each of them stands for `each` rows of the slice."""
        self.answers[name, kind] = [(row, correct, each) for row, correct in zip(rows, right, strict=True)]

    def scores(self) -> dict[str, dict[str, float | None]]:
        """Accuracy by slice, for each test set, and perplexity by slice."""
        return {**self.accuracies(), "perplexity": self.perplexity}

    def accuracies(self) -> dict[str, dict[str, float | None]]:
        """Accuracy by slice, for each test set that was asked."""
        kinds = {kind for _, kind in self.answers}
        return {measure: self._by_slice(kind) for kind, measure in QUESTIONS.items() if kind in kinds}

    def rows(self) -> dict[str, int]:
        """How many test rows stand behind each slice's accuracy."""
        return {name: len(scored) for (name, kind), scored in self.answers.items() if kind == "seen"}

    def of(self, *kinds: str) -> Scored:
        return [each for (_, kind), scored in self.answers.items() if kind in kinds for each in scored]

    def by_row(self) -> dict[str, bool]:
        """Whether the answer to a question was right, by the row's id."""
        return {row["id"]: right for row, right, _ in self.of(*QUESTIONS)}

    def _by_slice(self, kind: str) -> dict[str, float | None]:
        return {name: share(scored) for (name, of), scored in self.answers.items() if of == kind}


def share(scored: Scored) -> float | None:
    """The share of right answers; None if nothing was asked."""
    return sum(right * each for _, right, each in scored) / sum(each for *_, each in scored) if scored else None


def valid_accuracy(known: Knowledge) -> dict[str, float | None]:
    """Accuracy over everything that is true at the model's slice, each test row counted once."""
    kinds = {kind for _, kind in known.answers}
    return {measure: share(known.of(kind)) for kind, measure in QUESTIONS.items() if kind in kinds}


def everyday_by_kind(known: Knowledge) -> dict[str, float | None]:
    """Accuracy over everything that is true, by what makes a question an everyday one: a greeting, a typo, ..."""
    scored = known.of("everyday")
    kinds = sorted({row["how"] for row, *_ in scored})
    return {kind: share([each for each in scored if each[0]["how"] == kind]) for kind in kinds}


def categories(known: Knowledge, current: Examples) -> dict[str, float | None]:
    """Accuracy on the slice's new facts, on its updated ones, on retained older ones; share of stale answers.

    Both test sets count. Rows about no fact count as new in their own slice and as retained later. A stale
    answer is the old object of an updated fact, word for word.
    """
    updated = {fact["id"] for fact in current.facts if fact["category"] == "updated"}
    answered = known.of("seen", "paraphrase")
    own = {row["id"] for row in current.test}
    return {
        "new": share([each for each in answered if each[0]["id"] in own and each[0]["fact"] not in updated]),
        "updated": share([each for each in answered if each[0]["fact"] in updated]),
        "retained": share([each for each in answered if each[0]["id"] not in own]),
        "stale": share(known.of("stale")),
    }


def samples_of(known: Knowledge, count: int) -> list[dict[str, Any]]:
    """Paraphrased questions to show, evenly from all slices, the newest first."""
    by_slice = [[row for row, *_ in scored] for (_, kind), scored in known.answers.items() if kind == "paraphrase"]
    by_slice = [rows for rows in reversed(by_slice) if rows]
    if not by_slice:
        return []
    each = max(1, count // len(by_slice))
    picked = [rows[at * len(rows) // each] for rows in by_slice for at in range(min(each, len(rows)))]
    return picked[:count]
