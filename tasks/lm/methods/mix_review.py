"""Mix-review: old data is mixed in, ever less of it (He et al. 2021, arXiv 1910.07117).

There the ratio of old to new data decays from epoch to epoch; here it is multiplied by `decay` at each fifth of a
slice's steps.
"""

from typing import final

from tasks.lm.methods.method import Method, Row, Shares
from tasks.lm.methods.replay import with_older
from tasks.method_params import MixReview as MixReviewSettings


@final
class MixReview(Method):
    """Replays `share` of every batch at first, and less from fifth to fifth."""

    def __init__(self, settings: MixReviewSettings, seed: int):
        self.settings = settings

    def examples(self, shares: Shares, older: list[Row]) -> Shares:
        return with_older(shares, older, self.settings.share, self.settings.decay)
