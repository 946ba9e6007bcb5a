"""The Cartesian product of memories and messages, scored by how much their keys share."""

import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, product
from random import Random

from tasks.corpus.text import folded

COLUMNS = ("memory_0", "user_prompt_0", "memory_1", "user_prompt_1", "similarity_score")
_folded = lru_cache(maxsize=4096)(folded)  # each key meets all others
Synonyms = Sequence[Sequence[str]]
Line = tuple[str, str, str]  # key, value, message
Pair = tuple[str, str, str, str, float]


def cartesian_pairs(
    lines: list[Line], synonyms: Synonyms, max_rows: int, seed: int, similarity: str = "key_words"
) -> Iterator[Pair]:
    """Every ordered pair (i, j) of lines, in that order: memory of i, message of j, similarity of their keys.

    Of more than `max_rows` pairs the rare ones, with the same key, are kept first, as long as they are not more
    than half of all; the others fill up. Which of each kind are kept, the seed decides. The product itself is
    never held in memory.

    Args:
        lines: key, value, message.
        synonyms: groups of keys that count as one.
        max_rows: how many pairs are made at most.
        seed: of the choice.
        similarity: of keys that differ, one of SIMILARITIES.
    """
    everything = product(range(len(lines)), repeat=2)
    keys = [line[0] for line in lines]
    places = everything if len(lines) ** 2 <= max_rows else _sample(_groups(keys, synonyms), max_rows, seed)
    for i, j in places:
        alike = key_similarity(keys[i], keys[j], synonyms, similarity)
        yield memory_text(lines[i]), lines[i][2], memory_text(lines[j]), lines[j][2], alike


def key_words(one: str, other: str) -> float:
    """|A and B| / |A or B| over the keys' words, rounded to four digits."""
    words, other_words = set(one.split(" ")), set(other.split(" "))
    return round(len(words & other_words) / len(words | other_words), 4)


def graded(one: str, other: str) -> float:
    """Half of |A and B| / |A or B| over the keys' runs of three letters, rounded to four digits.

    Words that are forms of one another count for what they share (plan, plans; Hangul is taken apart into letters);
    and a related key is never more than half right, as tomorrow's weather is no answer to a question for today's.
    """
    runs, other_runs = _runs(one), _runs(other)
    return round(0.5 * len(runs & other_runs) / len(runs | other_runs), 4)


SIMILARITIES = {"key_words": key_words, "graded": graded}


def key_similarity(one: str, other: str, synonyms: Synonyms, kind: str = "key_words") -> float:
    """1.0 for the same key or synonyms, else how much the two have in common, by one of SIMILARITIES.

    Keys that differ in case, width or form are the same.
    """
    name, other_name = _folded(one), _folded(other)
    if name == other_name or any({name, other_name} <= set(map(_folded, group)) for group in synonyms):
        return 1.0
    return SIMILARITIES[kind](name, other_name)


@lru_cache(maxsize=4096)
def _runs(key: str) -> frozenset[str]:
    padded = f"<{unicodedata.normalize('NFKD', key.lower())}>"
    return frozenset(padded[start : start + 3] for start in range(len(padded) - 2))


def memory_text(memory: Sequence[str]) -> str:
    """A memory (key, value, ...) as it is stored, retrieved and put before a message."""
    return f"[{memory[0]}: {memory[1]}]"


def _groups(keys: list[str], synonyms: Synonyms) -> list[str]:
    """The name of each key's group: the first of its synonyms, or itself."""
    first = {_folded(key): _folded(group[0]) for group in reversed(synonyms) for key in group}
    return [first.get(key, key) for key in map(_folded, keys)]


def _sample(groups: list[str], max_rows: int, seed: int) -> list[tuple[int, int]]:
    """Choose pairs by their number, of those within a group and of those across groups, in O(lines + max_rows)."""
    count = len(groups)
    order = sorted(range(count), key=lambda line: (groups[line], line))  # a group's lines stand together
    sizes = Counter(groups)
    first = dict(zip(sorted(sizes), accumulate((sizes[group] for group in sorted(sizes)), initial=0), strict=False))
    size = [sizes[groups[line]] for line in order]
    start = [first[groups[line]] for line in order]
    within, across = list(accumulate(size)), list(accumulate(count - each for each in size))

    random = Random(seed)
    kept = min(within[-1], max(max_rows // 2, max_rows - across[-1]))
    chosen = []
    for number in random.sample(range(within[-1]), kept):
        row, partner = _row(number, within)
        chosen.append((order[row], order[start[row] + partner]))
    for number in random.sample(range(across[-1]), max_rows - kept):
        row, partner = _row(number, across)
        chosen.append((order[row], order[partner if partner < start[row] else partner + size[row]]))
    return sorted(chosen)


def _row(number: int, ends: list[int]) -> tuple[int, int]:
    """In which row, and where in it, the pair of this number stands; `ends` counts the pairs up to each row."""
    row = bisect_right(ends, number)
    return row, number - (ends[row - 1] if row else 0)
