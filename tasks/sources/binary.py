"""PyTorch's .bin files, which are pickles and may carry code, made safetensors.

`python -m tasks.sources.binary FOLDER OUT` is the process of its own that reads them.

Only tensors are read (torch.load with weights_only); anything else in the file ends the process with an error.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

INDEX = ".bin.index.json"
KEPT = ("*.json", "*.txt", "*.model", "*.jinja")


def from_binary(source: Path, out: Path) -> None:
    """Write the model in the folder `source` into the folder `out`, its weights as safetensors.

    Raises:
        pickle.UnpicklingError: there is something else than tensors in a file.
    """
    for pattern in KEPT:
        for path in source.glob(pattern):
            if path.name.endswith(INDEX):
                index = json.loads(path.read_text(encoding="utf-8"))
                index["weight_map"] = {name: _renamed(file) for name, file in index["weight_map"].items()}
                (out / _renamed(path.name)).write_text(json.dumps(index, indent=1), encoding="utf-8")
            else:
                shutil.copy(path, out / path.name)
    for path in sorted(source.glob("pytorch_model*.bin")):
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        apart = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}  # some share their memory
        save_file(apart, out / _renamed(path.name), {"format": "pt"})


def _renamed(file: str) -> str:
    return file.replace("pytorch_model", "model").replace(".bin", ".safetensors")


if __name__ == "__main__":
    from_binary(Path(sys.argv[1]), Path(sys.argv[2]))
