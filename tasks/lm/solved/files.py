"""The solved memory on disk: what answers stands beside the weights, what the next slice needs in `method/solved`."""

import hashlib
from pathlib import Path

from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks import artifact
from tasks.lm.solved.module import Memory
from tasks.lm.solved.solution import Solution
from tasks.lm.solved.sums import places_in
from tasks.solved_params import Solved

SETTINGS, TENSORS = "solved.json", "solved.safetensors"
KEPT, SUMS, FACTS, SLICES = "method/solved", "sums.safetensors", "facts.json", "slices.json"
SET_BY_ROWS = ("half", "limit", "at_random", "reproduced", "rank", "ridge")
MEMORY = (SETTINGS, TENSORS, KEPT)


def has_memory(folder: Path) -> bool:
    """Whether the model in a folder has a solved memory."""
    return (folder / SETTINGS).exists()


def save_memory(memory: Memory, folder: Path) -> None:
    """Write beside the weights what it takes to answer."""
    assert memory.solution is not None
    solution = memory.solution
    told = {"settings": memory.settings.model_dump(exclude={"shards"}), "backbone": backbone_sum(folder)}
    told |= {name: getattr(solution, name) for name in SET_BY_ROWS}
    artifact.write_json(folder / SETTINGS, told)
    parts = {"answers": solution.answers, "sketch": solution.sketch}
    save_file(parts | {"counts": memory.counts, "tokens": memory.tokens}, folder / TENSORS)
    (folder / TENSORS).chmod(0o644)


def load_memory(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Memory | None:
    """Put the memory that is saved in a model's folder into the model; None if there is none."""
    if not has_memory(folder):
        return None
    told = artifact.read_json(folder / SETTINGS)
    settings = Solved.model_validate(told["settings"])
    parts = {name: value.to(model.device) for name, value in load_file(folder / TENSORS).items()}
    memory = Memory(model, tokenizer, settings, parts["counts"].cpu())
    found = {name: told[name] for name in SET_BY_ROWS if name in told}
    memory.learn(Solution(parts["answers"], parts["sketch"], **found), parts["tokens"].cpu())
    return memory


def size_of(folder: Path) -> dict[str, float]:
    """How full the memory of the model in a folder is, and how large: see docs/formats.md."""
    told = artifact.read_json(folder / SETTINGS)
    return {
        "features": told["settings"]["width"],
        "places": places_in(folder / KEPT / SUMS),
        "rank": told["rank"],
        "reproduced": told["reproduced"],
        "kept_bytes": sum(path.stat().st_size for path in (folder / KEPT).iterdir()),
        "answering_bytes": (folder / TENSORS).stat().st_size,
    }


def known_backbone(folder: Path) -> str:
    """SHA-256 of the backbone that the memory's sums were made with."""
    return str(artifact.read_json(folder / SETTINGS)["backbone"])


def backbone_sum(folder: Path) -> str:
    """SHA-256 of a model's weights, sizes and tokenizer, without its memory."""
    files = [*sorted(folder.glob("*.safetensors")), folder / "config.json", *sorted(folder.glob("tokenizer*.json"))]
    sums = [f"{path.name} {artifact.file_sum(path)}" for path in files if path.name != TENSORS]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()
