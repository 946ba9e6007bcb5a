"""Joint training: every row of every slice, as often as any other; the upper bound, at a cost that grows."""

from typing import final

from tasks.lm.methods.method import Method, Row, Share, Shares
from tasks.method_params import Joint as JointSettings


@final
class Joint(Method):
    """Adds all older rows to the slice's own. The comparison starts it from the base, with steps for every slice."""

    def __init__(self, settings: JointSettings, seed: int):
        pass

    def examples(self, shares: Shares, older: list[Row]) -> Shares:
        return [Share([*shares[0].rows, *older], shares[0].share), *shares[1:]]
