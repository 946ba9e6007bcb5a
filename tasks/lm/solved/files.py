"""The solved memory on disk: what answers stands beside the weights in `solved`, what the next slice needs in
`method/solved`. Of each bucket both have a file."""

import hashlib
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks import artifact
from tasks.errors import BadInput
from tasks.lm.solved.asked import Asked
from tasks.lm.solved.module import Memory
from tasks.lm.solved.solution import Solution
from tasks.lm.solved.sums import places_in
from tasks.solved_params import Solved

ANSWERING, SETTINGS, COUNTS = "solved", "solved/memory.json", "solved/counts.safetensors"
ASKED, TAUGHT = "solved/asked.safetensors", "solved/taught.json"
KEPT, FACTS, SLICES = "method/solved", "facts.json", "slices.json"
SET_BY_ROWS = ("half", "limit", "at_random", "reproduced", "rank", "ridge")
MEMORY = (ANSWERING, KEPT)
UNBUCKETED = "solved.json"


def answers_in(folder: Path, bucket: int) -> Path:
    """Where what answers from a bucket lies in a model's folder."""
    return folder / ANSWERING / f"bucket-{bucket}.safetensors"


def sums_in(folder: Path, bucket: int | str) -> Path:
    """Where a bucket's sums lie in a model's folder."""
    return folder / KEPT / f"sums-{bucket}.safetensors"


def has_memory(folder: Path) -> bool:
    """Whether the model in a folder has a solved memory."""
    return (folder / SETTINGS).exists()


def save_memory(memory: Memory, folder: Path) -> None:
    """Write beside the weights what it takes to answer."""
    sizes = memory.settings.model_dump(exclude={"shards"})
    told: dict[str, Any] = {"settings": sizes, "backbone": backbone_sum(folder)}
    told["buckets"] = [{name: getattr(bucket, name) for name in SET_BY_ROWS} for bucket in memory.buckets]
    (folder / ANSWERING).mkdir(exist_ok=True)
    artifact.write_json(folder / SETTINGS, told)
    parts: dict[Path, dict[str, Tensor]] = {folder / COUNTS: {"counts": memory.counts, "tokens": memory.tokens}}
    artifact.write_json(folder / TAUGHT, memory.asks_for.answers)
    parts[folder / ASKED] = {"weights": memory.asks_for.weights}
    for number, bucket in enumerate(memory.buckets):
        parts[answers_in(folder, number)] = {"answers": bucket.answers, "sketch": bucket.sketch}
    for path, tensors in parts.items():
        save_file(tensors, path)
        path.chmod(0o644)


def load_memory(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Memory | None:
    """Put the memory that is saved in a model's folder into the model; None if there is none.

    Raises:
        BadInput: the memory has the form that it had before there were buckets.
    """
    if (folder / UNBUCKETED).exists():
        raise BadInput(
            f"{folder / UNBUCKETED} was written by an earlier version, and without that memory the model would have "
            "forgotten what it learnt. Run `perennial run`: the timeline is learnt anew."
        )
    if not has_memory(folder):
        return None
    told = artifact.read_json(folder / SETTINGS)
    settings = Solved.model_validate(told["settings"])
    counted = load_file(folder / COUNTS)
    memory = Memory(model, tokenizer, settings, counted["counts"])
    if (folder / TAUGHT).exists():  # a champion of an earlier version has none
        memory.asks_for = Asked(counted["counts"], artifact.read_json(folder / TAUGHT))
        memory.asks_for.weights = load_file(folder / ASKED)["weights"]
    buckets = []
    for number, found in enumerate(told["buckets"]):
        parts = {name: value.to(model.device) for name, value in load_file(answers_in(folder, number)).items()}
        buckets.append(Solution(parts["answers"], parts["sketch"], **found))
    memory.learn(buckets, counted["tokens"])
    return memory


def size_of(folder: Path) -> dict[str, float]:
    """How full the memory of the model in a folder is, and how large: see docs/formats.md."""
    told = artifact.read_json(folder / SETTINGS)
    buckets = told["buckets"]
    places = [places_in(sums_in(folder, number)) for number in range(len(buckets))]
    said = sum(count * bucket["reproduced"] for count, bucket in zip(places, buckets, strict=True))
    return {
        "buckets": len(buckets),
        "features": told["settings"]["width"] * len(buckets),
        "places": sum(places),
        "rank": sum(bucket["rank"] for bucket in buckets),
        "reproduced": said / max(1, sum(places)),
        "kept_bytes": sum(path.stat().st_size for path in (folder / KEPT).iterdir()),
        "answering_bytes": sum(path.stat().st_size for path in (folder / ANSWERING).iterdir()),
    }


def known_backbone(folder: Path) -> str:
    """SHA-256 of the backbone that the memory's sums were made with."""
    return str(artifact.read_json(folder / SETTINGS)["backbone"])


def backbone_sum(folder: Path) -> str:
    """SHA-256 of a model's weights, sizes and tokenizer, without its memory."""
    files = [*sorted(folder.glob("*.safetensors")), folder / "config.json", *sorted(folder.glob("tokenizer*.json"))]
    sums = [f"{path.name} {artifact.file_sum(path)}" for path in files]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()
