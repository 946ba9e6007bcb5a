"""When a document is used for an answer, and how."""

from typing import NamedTuple


class Policy(NamedTuple):
    """How documents are used: never, always, gated, quote or gated_quote (see tasks/scoring/retrieval_use.py).

    Attributes:
        confidence: a gate uses a document where the model is less sure of its own answer. If the model has a solved
            memory that is its doubt about the question, below zero.
        score: and where it is sure, from this score of the document on; None: there it uses none.
    """

    name: str = "always"
    confidence: float = 0.0
    score: float | None = None

    @property
    def gated(self) -> bool:
        return self.name.startswith("gated")

    @property
    def quotes(self) -> bool:
        return self.name.endswith("quote")

    def outweighs(self, score: float) -> bool:
        """Whether a document of this score is used though the model is sure of its own answer."""
        return self.score is not None and score >= self.score
