"""The two sums that are all a solved memory keeps: G of the features with themselves, C with the answers' codes.

    G = sum q q^T        C = sum q z^T

They are sums of whole numbers, so they are exact: in any order, from any number of machines, and what is subtracted is
gone to the last bit. G is symmetric, and its lower half is stored.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tasks.errors import BadInput
from tasks.lm.solved.features import HIGHEST

EXACT = 2**24  # whole numbers up to here are exact in float32
CHUNK = EXACT // HIGHEST**2  # places, of which a product of floats is
MOST_PLACES = (2**31 - 1) // HIGHEST**2  # so many fit in 32 bits, whatever they are


@dataclass
class Sums:
    """gram: G, [D, D]; cross: C, [D, K]; tokens: how often each token is part of an answer, [vocabulary]; all in int32.

    places: n. length: the sum of z^T z.
    """

    gram: Tensor
    cross: Tensor
    tokens: Tensor
    places: int = 0
    length: int = 0

    @classmethod
    def empty(cls, width: int, codes: int, vocabulary: int) -> "Sums":
        """Of nothing yet."""
        gram, cross, tokens = (
            torch.zeros(size, dtype=torch.int32) for size in ((width, width), (width, codes), (vocabulary,))
        )
        return cls(gram, cross, tokens)

    def add(self, features: Tensor, targets: Tensor, tokens: Tensor, sign: int = 1) -> None:
        """Add places, or take them out again.

        Args:
            features: q, [places, D].
            targets: z, [places, K].
            tokens: how often each token is in z, [vocabulary].
            sign: 1, or -1 to subtract.

        Raises:
            BadInput: the sums are full.
        """
        self.places += sign * len(features)
        if self.places > MOST_PLACES:
            raise BadInput(
                f"The solved memory holds {MOST_PLACES} places at most, and this slice brings it to {self.places}. "
                "Teach fewer wordings of a fact, or another part of the facts by another model."
            )
        for some, aims in zip(features.split(CHUNK), targets.split(CHUNK), strict=True):
            self.gram += sign * (some.T @ some).to(torch.int32).cpu()
            self.cross += sign * (some.T @ aims).to(torch.int32).cpu()
        self.tokens += sign * tokens.to(torch.int32)
        self.length += sign * int(targets.double().square().sum())

    def merge(self, other: "Sums", sign: int = 1) -> None:
        """Add what another shard summed up, or subtract it."""
        self.gram += sign * other.gram
        self.cross += sign * other.cross
        self.tokens += sign * other.tokens
        self.places += sign * other.places
        self.length += sign * other.length

    def save(self, path: Path) -> None:
        rows, columns = torch.tril_indices(*self.gram.shape)
        parts = {"gram": self.gram[rows, columns], "cross": self.cross, "tokens": self.tokens}
        save_file(parts, path, {"places": str(self.places), "length": str(self.length)})

    @classmethod
    def load(cls, path: Path) -> "Sums":
        parts = load_file(path)
        with safe_open(path, "pt") as file:
            told = file.metadata()
        width = parts["cross"].shape[0]
        gram = torch.zeros(width, width, dtype=torch.int32)
        rows, columns = torch.tril_indices(width, width)
        gram[rows, columns] = gram[columns, rows] = parts["gram"]
        return cls(gram, parts["cross"], parts["tokens"], int(told["places"]), int(told["length"]))
