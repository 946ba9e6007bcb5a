"""What every section of params.yaml is made of: frozen, and an unknown key is an error."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

# strict: true is no number; and no number is infinite
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Positive = Annotated[int, Field(gt=0, lt=2**31, strict=True)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]  # as every library takes it


KINDS = {"model_type": "keys and their values are expected here", "tuple_type": "a list is expected here"}
KINDS["dict_type"] = KINDS["model_type"]
LONGEST = 60  # characters of a key in a sentence


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def mistake(error: ValidationError, whole: str = "") -> str:
    """The first mistake as `place: reason`, without a full stop, in words of YAML and not of Python.

    Args:
        error: what pydantic found.
        whole: the place, if it is the whole file.
    """
    # a misspelt key is also a missing one: the misspelling is what must be mended
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    place = ".".join(str(part)[:LONGEST] for part in first["loc"]) or whole
    reason = KINDS.get(first["type"], first["msg"].removeprefix("Value error, "))
    reason = reason.replace("Tuple should", "a list should").replace(" after validation", "")
    return f"{place}: {reason}" if place else reason
