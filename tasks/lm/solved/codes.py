"""Codes of tokens, and how an answer of several tokens becomes one vector, and tokens again.

A token's code is K random signs. Of an answer y_0 ... y_n the codes are added up, each tied to all that is before it:

    z = sum_t b_t code(y_t)        b_0 = 1,  b_(t+1) = turn(b_t) code(y_t)

with products by element, and turn shifting by one. So z b_t is nearest to code(y_t): the other tokens' codes are noise
there, of standard deviation sqrt(n / K) beside 1. Where z is a blend of several answers, z b_t has the next tokens of
those alone that begin with y_0 ... y_(t-1): an answer stays one answer. (Multiply, add, permute: Gayler 1998; Kanerva
2009, Cognitive Computation 1(2).)
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


def tied(before: Tensor, code: Tensor) -> Tensor:
    """b_(t+1), [..., K], from b_t and the code of y_t."""
    return before.roll(1, -1) * code


def codes_of(tokens: Sequence[int], width: int) -> Tensor:
    """The codes of tokens, [tokens, width], in float32."""
    return signs(SEED, tokens, width).float()


def bound(answers: list[list[int]], width: int) -> Tensor:
    """The vectors of answers, [answers, width], whole numbers in float32."""
    tokens = sorted({token for answer in answers for token in answer})
    codes = dict(zip(tokens, codes_of(tokens, width), strict=True))
    vectors = torch.zeros(len(answers), width)
    for row, answer in enumerate(answers):
        before = torch.ones(width)
        for token in answer:
            vectors[row] += before * codes[token]
            before = tied(before, codes[token])
    return vectors
