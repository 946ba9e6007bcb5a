"""What the memory sees of a question: whole numbers, from the frozen backbone's states and from the letters.

    x = [h_1 / |h_1|, ..., h_n / |h_n|, w g / |g|]        q = round(32 relu(x W / |x|))

h are hidden states at the place that predicts, g is a sum over the n-grams of letters in what stands before it, W has
standard normal entries. Random features of a ReLU approximate the arc-cosine kernel of degree one (Cho and Saul 2009,
NIPS 22): questions that look alike, to the backbone or letter by letter, have features alike.

An n-gram's vector is random signs, weighted by its rarity a / (a + p), p being its share of the n-grams of the first
slice's questions (Arora et al. 2017, ICLR, for words): names count, and what every question has does not.

Features are whole numbers so that sums of their products are exact: what is added in any order is the same, and what
is taken out again leaves nothing.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tasks.lm.solved.codes import SEED, signs

LEVELS = 32  # per standard deviation
HIGHEST = 127  # four of them
NO_WORD = re.compile(r"[^\w\s]")
LENGTHS = (3, 4, 5)  # of n-grams
RARE = 1e-2  # a
COUNTERS = 2**16  # of n-grams, by their hash: no n-gram itself is kept
WORDS = 1  # beside SEED, of the n-grams' signs


def grams(text: str) -> Iterator[str]:
    """The words of a text and, with their ends marked, their n-grams of letters; case, width and signs don't count."""
    for word in NO_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold()).split():
        yield word
        marked = f"<{word}>"
        for length in LENGTHS:
            yield from (marked[at : at + length] for at in range(max(1, len(marked) - length + 1)))


def counted(texts: Iterable[str]) -> Tensor:
    """How often n-grams occur, [COUNTERS], by their hash."""
    counts = torch.zeros(COUNTERS, dtype=torch.int32)
    for gram, count in Counter(gram for text in texts for gram in grams(text)).items():
        counts[_hash(gram) % COUNTERS] += count
    return counts


class Letters:
    """The sum over a text's n-grams, of length one: see above. `counts` are the first slice's."""

    def __init__(self, counts: Tensor, width: int):
        self.width = width
        self.rarity = RARE / (RARE + counts.double() / max(1, int(counts.sum()))).float()

    def __call__(self, texts: list[str]) -> Tensor:
        """[texts, width]."""
        found = [Counter(map(_hash, grams(text))) for text in texts]
        place_of = {each: place for place, each in enumerate(dict.fromkeys(each for some in found for each in some))}
        if not place_of:
            return torch.zeros(len(texts), self.width)
        cells = [(row, place_of[each], times) for row, some in enumerate(found) for each, times in some.items()]
        rows, places, times = torch.tensor(cells).T
        weights = torch.zeros(len(texts), len(place_of))
        weights[rows, places] = times.float()
        weights *= self.rarity[torch.tensor([each % COUNTERS for each in place_of])]
        return normalize(weights @ torch.stack([_signs(each, self.width) for each in place_of]).float(), dim=-1)


@cache
def mixing(inputs: int, width: int) -> Tensor:
    """W, [inputs, width]: from numpy's legacy generator, whose stream is frozen (NEP 19)."""
    entries = np.random.RandomState(SEED).standard_normal((inputs, width))
    return torch.from_numpy(entries.astype(np.float32))


def features(parts: list[Tensor], width: int) -> Tensor:
    """q, [places, width], whole numbers from 0 to 127 in float32.

    Args:
        parts: h_1 / |h_1| and so on, each [places, n]; every place's x has the same length.
        width: D.
    """
    joined = torch.cat(parts, -1)
    mixed = joined @ mixing(joined.shape[1], width).to(joined.device)
    length = joined.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    return (mixed.relu() * (LEVELS / length)).round().clamp(max=HIGHEST)


@lru_cache(2**16)
def _hash(gram: str) -> int:
    return int.from_bytes(hashlib.blake2b(gram.encode(), digest_size=8).digest(), "little")


@lru_cache(2**14)
def _signs(number: int, width: int) -> Tensor:
    return signs(SEED + WORDS, [number], width)[0]
