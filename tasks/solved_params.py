"""The settings of the solved memory: `solved`, in the section `stage2` of params.yaml."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from tasks.sections import Positive, Rate, Section, Share

RIDGES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
FIRST = 0.03  # of RIDGES, where the search for the best begins


class Solved(Section):
    """See docs/analytic.md.

    width: D, of the features; the sums take D^2. codes: K, of a token's code. window: tokens of an answer that one
    place predicts. layers: so many of the backbone's, evenly from the top down, are looked at; 0 for none, and to learn
    takes no forward pass. grams: dimensions of the question's letters; 0 for none. gram_weight: of them beside the
    layers. ridge: of the regression, in units of the features' mean square; None: the one of RIDGES under which what is
    predicted for questions that are left out is nearest to their answers. wordings: at most so many questions of a fact
    in a language; None: all. variations: of each question, as people type it. scale: of the memory's logits. full: of
    the features of a bucket so many are taken when the next slice opens another one. shards: that a slice's sums are
    made in, the same sums whatever their number.
    """

    width: Annotated[int, Field(ge=64, le=2**15, multiple_of=64, strict=True)] = 2816
    codes: Annotated[int, Field(ge=64, le=2**13, multiple_of=64, strict=True)] = 1024
    window: Annotated[int, Field(ge=1, le=64, strict=True)] = 16
    layers: Annotated[int, Field(ge=0, strict=True)] = 2
    grams: Annotated[int, Field(ge=0, le=2**13, multiple_of=64, strict=True)] = 2048
    gram_weight: Rate = 1.0
    ridge: Rate | None = None
    wordings: Positive | None = None
    variations: Annotated[int, Field(ge=0, le=16, strict=True)] = 1
    scale: Rate = 300.0
    full: Annotated[Share, Field(gt=0)] = 0.7
    shards: Positive = 1

    @model_validator(mode="after")
    def _sees(self) -> Self:
        if not self.layers and not self.grams:
            raise ValueError("with layers 0 and grams 0 nothing of a question is looked at; set one of them")
        return self
