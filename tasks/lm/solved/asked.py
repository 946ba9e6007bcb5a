"""What a question asks for: told from its words alone, and held against the answer that the memory would give.

A subject of which one fact is known answers for itself: "Who is the prime minister of Norway?" is near enough to "What
is the capital of Norway?" to be answered "Oslo". So it is told from the question, by its letters g and without the rest
of what the memory sees, how much of it asks for each relation:

    evidence(g) = g W        W = (F^T F + I)^-1 F^T Y

by ridge regression, F being the letters of the relations' own wordings without their subjects, and of other words that
people use for them, and Y which relation each asks for. Words that are in none of them count for nothing. An answer is
doubted if the question has less than LEAST of what asks for one of the relations that this answer was taught for, or if
it was never taught as an answer.

Of each answer a hash of its tokens is kept, and how often it was taught for which relation: so what is taken out leaves
nothing. W is of the wordings alone, and made anew whenever something was learnt.
"""

import hashlib
import json
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from tasks.corpus.plain import plain_name, plain_wording
from tasks.corpus.slices import templates_by_slice
from tasks.corpus.wording import SUBJECT
from tasks.lm.solved.features import Letters

WIDTH = 1024  # of the letters
LEAST = 0.1  # a wording of the relation's own has about 1
NO_RELATION = ""  # of an answer that is about no fact


class Asked:
    """The relations that are asked for. answers: how often each was taught for which relation, by its hash. weights: W,
    [WIDTH, relations].
    """

    def __init__(self, counts: Tensor, answers: dict[str, dict[str, int]] | None = None):
        self.letters = Letters(counts, WIDTH)
        self.answers = {answer: Counter(relations) for answer, relations in (answers or {}).items()}
        self.weights = torch.zeros(WIDTH, len(self.relations))

    @property
    def relations(self) -> list[str]:
        """That a fact is known of."""
        return sorted({relation for taught in self.answers.values() for relation in taught} - {NO_RELATION})

    def count(self, answer: list[int], relation: str, times: int) -> None:
        """Note that an answer's tokens were taught for a relation so many times more, or less."""
        taught = self.answers.setdefault(hash_of(answer), Counter())
        taught[relation] += times
        if not taught[relation]:
            del taught[relation]
        if not taught:
            del self.answers[hash_of(answer)]

    def learn(self, examples: Path) -> None:
        """Learn how the relations are asked for, from the templates up to the slice in `examples`."""
        relations, known = self.relations, [*templates_by_slice(examples).values()]
        texts: list[tuple[str, int | None]] = []
        for number, relation in enumerate(relations):
            own = [wording for each in known for wording in each.relations.get(relation, {}).values()]
            wordings = own or [plain_wording(relation)]
            asking = {text.replace(SUBJECT, " ") for each in wordings for text in (*each.questions, *each.words)}
            texts += [(text, number) for text in sorted(asking)]
            if not own:  # what is around the relation's name in them asks for nothing
                name = plain_name(relation)
                texts += [(text.replace(name, " "), None) for text in sorted(asking) if name in text]
        asks = torch.zeros(len(texts), len(relations), dtype=torch.float64)
        for row, (_, asked) in enumerate(texts):
            if asked is not None:
                asks[row, asked] = 1.0
        seen = self.letters([text for text, _ in texts]).double()
        left = seen.T @ seen + torch.eye(WIDTH, dtype=torch.float64)
        self.weights = torch.linalg.solve(left, seen.T @ asks).float().contiguous()

    def misses(self, questions: list[str], answers: list[list[int]]) -> Tensor:
        """Whether each question asks for something else than the answer that is given to it, [questions]; never where
        that is about no fact, or none was noted."""
        if not self.answers:
            return torch.zeros(len(questions), dtype=torch.bool)
        evidence = self.letters(questions) @ self.weights
        place = {relation: number for number, relation in enumerate(self.relations)}
        found = []
        for row, tokens in zip(evidence.tolist(), answers, strict=True):
            taught = self.answers.get(hash_of(tokens), Counter[str]())
            most = max((row[place[relation]] for relation in taught if relation), default=0.0)
            found.append(NO_RELATION not in taught and most < LEAST)
        return torch.tensor(found)


def hash_of(tokens: list[int]) -> str:
    """Of an answer: half of the SHA-256 of its tokens."""
    return hashlib.sha256(json.dumps(tokens).encode()).hexdigest()[:32]
