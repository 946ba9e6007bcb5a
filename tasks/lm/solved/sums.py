"""The two sums that a bucket of a solved memory keeps: G of the features with themselves, C with the answers' codes.

    G = sum q q^T        C = sum q z^T

They are sums of whole numbers, so they are exact: in any order, from any number of machines, and what is subtracted is
gone to the last bit. G is symmetric, and its lower half is stored. A number has 32 bits as long as so many places fit,
whatever they are, and 64 beyond: what is stored depends on what is in the sums, and not on how it came there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tasks.lm.solved.features import HIGHEST

EXACT = 2**24  # whole numbers up to here are exact in float32
CHUNK = EXACT // HIGHEST**2  # places, of which a product of floats is
MOST_PLACES = (2**31 - 1) // HIGHEST**2  # so many fit in 32 bits, whatever they are

COUNT = "count"  # in a file: of places, and their length


@dataclass
class Sums:
    """gram: G, [D, D]; cross: C, [D, K]; tokens: how often each token is part of an answer, [vocabulary]; all in int32,
    or in int64.

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

    def none(self) -> "Sums":
        """Of nothing, of the same sizes."""
        width, codes = self.cross.shape
        return Sums.empty(width, codes, len(self.tokens))

    def add(self, features: Tensor, targets: Tensor, tokens: Tensor, sign: int = 1) -> None:
        """Add places, or take them out again.

        Args:
            features: q, [places, D].
            targets: z, [places, K].
            tokens: how often each token is in z, [vocabulary].
            sign: 1, or -1 to subtract.
        """
        with self._growing(sign * len(features)):
            for some, aims in zip(features.split(CHUNK), targets.split(CHUNK), strict=True):
                self.gram += sign * (some.T @ some).to(torch.int32).cpu()
                self.cross += sign * (some.T @ aims).to(torch.int32).cpu()
            self.tokens += sign * tokens.to(self.tokens.dtype)
            self.length += sign * int(targets.double().square().sum())

    def merge(self, other: "Sums", sign: int = 1) -> None:
        """Add what another shard summed up, or subtract it."""
        with self._growing(sign * other.places):
            self.gram += sign * other.gram
            self.cross += sign * other.cross
            self.tokens += sign * other.tokens
            self.length += sign * other.length

    @contextmanager
    def _growing(self, places: int) -> Iterator[None]:
        """Around adding so many places, or taking them out: numbers as wide as that needs, and then as what is left."""
        after = self.places + places
        self._fit(max(self.places, after))
        yield
        self.places = after
        self._fit(after)

    def _fit(self, places: int) -> None:
        kind = torch.int64 if places > MOST_PLACES else torch.int32
        self.gram, self.cross, self.tokens = (each.to(kind) for each in (self.gram, self.cross, self.tokens))

    def save(self, path: Path) -> None:
        rows, columns = torch.tril_indices(*self.gram.shape)
        count = torch.tensor([self.places, self.length])  # two keys of metadata would be in random order
        save_file({"gram": self.gram[rows, columns], "cross": self.cross, "tokens": self.tokens, COUNT: count}, path)

    @classmethod
    def load(cls, path: Path) -> "Sums":
        parts = load_file(path)
        width = parts["cross"].shape[0]
        gram = torch.zeros(width, width, dtype=parts["gram"].dtype)
        rows, columns = torch.tril_indices(width, width)
        gram[rows, columns] = gram[columns, rows] = parts["gram"]
        return cls(gram, parts["cross"], parts["tokens"], *parts[COUNT].tolist())


def places_in(path: Path) -> int:
    """How many places are in the sums that a file holds."""
    with safe_open(path, "pt") as file:
        return int(file.get_tensor(COUNT)[0])
