"""Re-warming that decays: each slice warms up to a lower peak, as if one schedule went on over all slices.

A slice that is warmed up to the full rate forgets most of all by that; without any it learns too little. The peaks
fall geometrically here, a simple form of the autoregressive schedules of TiC-LM (Li et al. 2025, arXiv 2504.02107).
"""

from typing import final

from transformers import PreTrainedModel

from tasks.lm.methods.method import Method
from tasks.method_params import Rewarming as RewarmingSettings


@final
class Rewarming(Method):
    """Multiplies every learning rate by decay ** (slices seen), but by no less than `floor`.

    A base that was pretrained elsewhere counts as one: it had its own warm-up.
    """

    def __init__(self, settings: RewarmingSettings, seed: int):
        self.settings = settings

    def before_update(self, model: PreTrainedModel, step: int, rate: float) -> float:
        return rate * max(self.settings.floor, self.settings.decay ** (self.seen.slices + self.seen.pretrained))
