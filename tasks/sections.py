"""What every section of params.yaml is made of: frozen, and an unknown key is an error."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# strict: true is no number; and no number is infinite
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Positive = Annotated[int, Field(gt=0, lt=2**31, strict=True)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]  # as every library takes it


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
