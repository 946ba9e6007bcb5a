"""Whether the base encoder was built here or pretrained elsewhere, and so at which rate it is trained on."""

from pathlib import Path

from tasks import artifact
from tasks.params import Pretrained, Retriever

BASE = "base.json"


def write_base(folder: Path, pretrained: Pretrained | None) -> None:
    """Write beside the encoder what it is; `pretrained` has the rate of one that was trained elsewhere."""
    rate = {"learning_rate": pretrained.retriever_learning_rate} if pretrained else {}
    artifact.write_json(folder / BASE, {"pretrained": pretrained is not None, **rate})


def retriever_for(settings: Retriever, encoder: Path) -> Retriever:
    """The settings for training the encoder in `encoder` on."""
    base = artifact.read_json(encoder / BASE) if (encoder / BASE).exists() else {"pretrained": False}
    return settings.model_copy(update={"learning_rate": base["learning_rate"]}) if base["pretrained"] else settings
