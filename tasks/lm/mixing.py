"""What a slice is trained on: its own rows, and what its methods add from older slices."""

from pathlib import Path

from tasks.corpus.slices import history, still_true, valid_facts
from tasks.lm.methods import Method
from tasks.lm.methods.method import Shares


def shares_of(examples: Path, methods: list[Method]) -> Shares:
    """Rows with their share of every batch: first the slice's own, then what the methods add.

    Rows whose fact a later slice has overridden are never among them.
    """
    slices = history(examples)
    valid = valid_facts(slices)
    older = [row for examples in slices[:-1] for row in still_true(examples.train, valid)]
    shares: Shares = [(slices[-1].train, 1.0)]
    for method in methods:
        shares = method.examples(shares, older)
    return shares
