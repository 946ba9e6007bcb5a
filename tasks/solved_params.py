"""The settings of the solved memory: `solved`, in the section `stage2` of params.yaml."""

from typing import Annotated

from pydantic import Field

from tasks.sections import Positive, Rate, Section

RIDGES = (0.003, 0.03, 0.3)  # the least for what is learnt by heart, more for what must be made out from examples


class Solved(Section):
    """See docs/analytic.md.

    width: D, of the features; the sums take D^2. codes: K, of a token's code. window: tokens of an answer that one
    place predicts. layers: so many of the backbone's, evenly from the top down, are looked at. grams: dimensions of
    the question's letters; 0 for none. gram_weight: of them beside the layers. ridge: of the regression, in units of
    the features' mean square; None: the least of RIDGES under which most questions that are left out are answered.
    wordings: at most so many questions of a fact in a language; None: all. variations: of each question, as people
    type it. scale: of the memory's logits. shards: that a slice's sums are made in, the same sums whatever their
    number.
    """

    width: Annotated[int, Field(ge=64, le=2**15, multiple_of=64, strict=True)] = 2816
    codes: Annotated[int, Field(ge=64, le=2**13, multiple_of=64, strict=True)] = 1024
    window: Annotated[int, Field(ge=1, le=64, strict=True)] = 16
    layers: Positive = 2
    grams: Annotated[int, Field(ge=0, le=2**13, multiple_of=64, strict=True)] = 1024
    gram_weight: Rate = 1.0
    ridge: Rate | None = None
    wordings: Positive | None = None
    variations: Annotated[int, Field(ge=0, le=16, strict=True)] = 1
    scale: Rate = 300.0
    shards: Positive = 1
