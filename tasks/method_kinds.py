"""What a method's settings say of its kind: its family, what it trains and what it needs; and which lists fit."""

from collections.abc import Sequence
from typing import ClassVar, Literal, TypeVar

from tasks.sections import Section

Family = Literal[
    "baselines", "regularisation", "parameter expansion", "rehearsal", "distillation", "weight space", "schedule",
    "robustness", "meta-learning", "sparse memory",
]  # fmt: skip


class MethodSettings(Section):
    """One item of `methods`.

    family: in the comparison's table. weights: what is trained; all: every weight, as it is; adapter: modules of its
    own; subset: some weights. needs_older: it repeats kept rows of older slices. replays: it gives a share of the
    batches to what older slices taught, be it kept or made anew. measures_end: it saves what it measures of the
    trained model. replaces_end: it gives the trained model other weights. whole_batches: what it adds to the loss is
    not the mean of what it would add for a batch's parts. computed_once: blocks can't be computed twice under it.
    """

    family: ClassVar[Family]
    weights: ClassVar[Literal["any", "all", "adapter", "subset"]] = "any"
    needs_older: ClassVar[bool] = False
    replays: ClassVar[bool] = False
    measures_end: ClassVar[bool] = False
    replaces_end: ClassVar[bool] = False
    whole_batches: ClassVar[bool] = False
    computed_once: ClassVar[bool] = False
    name: str

    @property
    def needs_replay(self) -> bool:
        """Whether it does nothing, or only part of its work, unless another method replays."""
        return False


Methods = TypeVar("Methods", bound=Sequence[MethodSettings])


def fitting(methods: Methods) -> Methods:
    """The list itself.

    Raises:
        ValueError: two methods in it make no sense together.
    """
    names = [each.name for each in methods]
    if len(set(names)) < len(names):
        raise ValueError("a method is named twice: keep one of them")
    choosing = [each.name for each in methods if each.weights in ("adapter", "subset")]
    if len(choosing) > 1:
        raise ValueError(f"{choosing[0]} and {choosing[1]} both choose what is trained: keep one of them")
    if choosing and (whole := [each.name for each in methods if each.weights == "all"]):
        raise ValueError(
            f"{whole[0]} needs the model's own weights trained, which {choosing[0]} freezes: drop one of them"
        )
    for place, each in enumerate(methods):
        # at the end a list is gone through in reverse
        if each.replaces_end and (early := [other.name for other in methods[place + 1 :] if other.measures_end]):
            raise ValueError(f"{early[0]} must measure the weights that {each.name} makes: put it before {each.name}")
    if not any(each.replays for each in methods) and (idle := [each.name for each in methods if each.needs_replay]):
        raise ValueError(
            f"{idle[0]} works on replayed rows, and no method here replays any: put replay, or another one, before it"
        )
    return methods


def check_rehearsal(place: str, methods: Sequence[MethodSettings], keep: str) -> None:
    """Refuse methods that repeat older rows where none are kept: they would silently be naive.

    Raises:
        ValueError: there is one.
    """
    if keep == "none" and (idle := [each.name for each in methods if each.needs_older]):
        raise ValueError(
            f"{place}: {idle[0]} repeats rows of older slices, and keep.rows is none: "
            f"set it to capped or all there, or leave {idle[0]} out"
        )


def check_batches(place: str, methods: Sequence[MethodSettings], accumulate: int, again: bool) -> None:
    """Refuse methods whose batches can't be taken as stage 1 is to take them.

    Raises:
        ValueError: there is one.
    """
    if accumulate > 1 and (whole := [each.name for each in methods if each.whole_batches]):
        raise ValueError(
            f"{place}: {whole[0]} weighs a batch's rows together, and stage1.accumulate takes a batch in {accumulate} "
            f"parts: set it to 1 and lower stage1.batch_tokens, or leave {whole[0]} out"
        )
    if again and (once := [each.name for each in methods if each.computed_once]):
        raise ValueError(
            f"{place}: under {once[0]} blocks can't be computed again on the way back: set "
            f"stage1.activation_checkpointing to false, or leave {once[0]} out"
        )
