"""How forgetting is fought while training: one method per file, composed as a list in params.yaml."""

from tasks.lm.methods.ewc import EWC
from tasks.lm.methods.method import Method
from tasks.lm.methods.replay import Replay
from tasks.params import Methods

METHODS = {"replay": Replay, "ewc": EWC}


def build_methods(settings: Methods, seed: int) -> list[Method]:
    """The chosen methods, in order; none is naive fine-tuning."""
    return [METHODS[each.name](each, seed) for each in settings]
