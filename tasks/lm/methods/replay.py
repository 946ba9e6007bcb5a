"""Experience replay: a fixed share of every batch comes from older slices (Rolnick et al. 2019; Chaudhry et al. 2019).

The cost per slice stays constant, since the batch does not grow. What a later slice has overridden is never
replayed: the caller hands over only rows that are still true.
"""

from typing import final

import torch

from tasks.lm.methods.method import Method, Row, Shares
from tasks.params import Replay as ReplaySettings


@final
class Replay(Method):
    """Replays `share` of every batch, from all older rows or from at most `max_rows` of them."""

    def __init__(self, settings: ReplaySettings, seed: int):
        self.share = settings.share
        self.max_rows = settings.max_rows
        self.seed = seed

    def examples(self, shares: Shares, older: list[Row]) -> Shares:
        if not older:
            return shares
        kept = [(rows, share * (1 - self.share)) for rows, share in shares]
        return [*kept, (self._pool(older), self.share)]

    def _pool(self, older: list[Row]) -> list[Row]:
        """A uniform sample of the older rows, for those who may not keep all of them."""
        if self.max_rows is None or len(older) <= self.max_rows:
            return older
        order = torch.randperm(len(older), generator=torch.Generator().manual_seed(self.seed)).tolist()
        return [older[index] for index in sorted(order[: self.max_rows])]
