"""Rows that have a share of every batch, and uniform samples of them, by a seed."""

from dataclasses import dataclass, replace

import torch

from tasks.corpus.slices import Row
from tasks.lm.batches import PHASES


@dataclass(frozen=True)
class Share:
    """Rows that have a fixed share of every batch; the share is multiplied by `decay` at each fifth of the steps.

    as_is: their questions are not varied, since the method knows something of just these tokens.
    """

    rows: list[Row]
    share: float
    decay: float = 1.0
    as_is: bool = False

    @property
    def mean_share(self) -> float:
        """The share over all steps, relative to those of others, in the mean."""
        return self.share * sum(self.decay**fifth for fifth in range(PHASES)) / PHASES


Shares = list[Share]


def split_off(shares: Shares, share: float, seed: int) -> tuple[Shares, Shares]:
    """Hold out a part of every share's rows: what is left to train on, one row at least, and what is held out."""
    left, held = [], []
    for number, each in enumerate(shares):
        order = torch.randperm(len(each.rows), generator=torch.Generator().manual_seed(seed + number)).tolist()
        count = min(round(len(order) * share), max(0, len(order) - 1))
        held.append(Share([each.rows[index] for index in sorted(order[:count])], each.share))
        left.append(replace(each, rows=[each.rows[index] for index in sorted(order[count:])]))
    return left, held


def at_most(rows: list[Row], count: int, seed: int) -> list[Row]:
    """All rows, or a uniform sample of `count` of them, in their order."""
    if len(rows) <= count:
        return rows
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    return [rows[index] for index in sorted(order[:count])]
