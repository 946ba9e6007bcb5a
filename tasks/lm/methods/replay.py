"""Experience replay: a fixed share of every batch comes from older slices (Rolnick et al. 2019; Chaudhry et al. 2019).

The cost per slice stays constant, since the batch does not grow. What a later slice has overridden is never
replayed: the caller hands over only rows that are still true. `keep` in params.yaml says which rows those are.
"""

from dataclasses import replace
from typing import final

from tasks.lm.methods.method import Method, Row, Share, Shares
from tasks.method_params import Replay as ReplaySettings


@final
class Replay(Method):
    """Replays `share` of every batch."""

    def __init__(self, settings: ReplaySettings, seed: int):
        self.share = settings.share

    def examples(self, shares: Shares, older: list[Row]) -> Shares:
        return with_older(shares, older, self.share)


def with_older(shares: Shares, older: list[Row], share: float, decay: float = 1.0) -> Shares:
    """The shares with `share` of every batch given to `older`; what was there shares the rest as before."""
    if not older:
        return shares
    scaled = [replace(each, share=each.share * (1 - share)) for each in shares]
    return [*scaled, Share(older, share, decay)]
