"""Joint training: every row of every slice, as often as any other; the upper bound, at a cost that grows."""

from typing import final

from tasks.lm.methods.method import Method, Row, Shares
from tasks.lm.methods.replay import with_older
from tasks.method_params import Joint as JointSettings


@final
class Joint(Method):
    """Gives older rows the share that they are of all. The comparison starts it from the base, with steps for all."""

    def __init__(self, settings: JointSettings, seed: int):
        pass

    def examples(self, shares: Shares, older: list[Row]) -> Shares:
        return with_older(shares, older, len(older) / max(1, len(older) + len(shares[0].rows)))
