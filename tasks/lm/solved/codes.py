"""Codes of tokens, and how an answer of several tokens becomes one vector, and tokens again.

A token's code is K random signs. Of an answer y_0 ... y_n the codes are added up, each turned by its place:

    z = sum_t turn(code(y_t), t)

so that turned back by t, z is nearest to code(y_t): the other places' codes are noise there, of standard deviation
sqrt(n / K) beside 1. (Holographic codes by permutation: Plate 1995, IEEE Transactions on Neural Networks 6(3); Kanerva
2009, Cognitive Computation 1(2), for signs and shifts.)
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

BITS = 64
SEED = 11  # of all that is random in a memory: so any two can be added up


def signs(seed: int, names: Iterable[int], width: int) -> Tensor:
    """A vector of `width` random signs for each name, [names, width], in int8: of seed and name alone.

    The bits are those of Philox (Salmon et al. 2011, SC11), which no version of numpy may change.
    """
    words = [np.random.Philox(key=np.array([seed, name], np.uint64)).random_raw(width // BITS) for name in names]
    bits = np.unpackbits(np.array(words, "<u8").reshape(-1, width // BITS).view(np.uint8), axis=1)
    return torch.from_numpy(bits.astype(np.int8)) * 2 - 1


def turned(vectors: Tensor, places: Tensor) -> Tensor:
    """Each vector, [n, K], turned by its place, [n]: what stood at k stands at k + place."""
    at = torch.arange(vectors.shape[1], device=vectors.device)
    return vectors.gather(1, (at - places.unsqueeze(1)) % vectors.shape[1])


def codes_of(tokens: Sequence[int], width: int) -> Tensor:
    """The codes of tokens, [tokens, width], in float32."""
    return signs(SEED, tokens, width).float()


def bound(answers: list[list[int]], width: int) -> Tensor:
    """The vectors of answers, [answers, width], whole numbers in float32."""
    tokens = sorted({token for answer in answers for token in answer})
    codes = dict(zip(tokens, codes_of(tokens, width), strict=True))
    vectors = torch.zeros(len(answers), width)
    for row, answer in enumerate(answers):
        for place, token in enumerate(answer):
            vectors[row] += codes[token].roll(place)
    return vectors
