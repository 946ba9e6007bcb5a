"""A causal LM in a single GGUF file, as llama.cpp has it, made a plain folder.

Its weights are widened to float32: of a file of four bits they are not those of the model that was quantised.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from tasks.errors import BadInput, reason_of

PRE_TOKENIZER = "tokenizer.ggml.pre"  # the field that names it
SPLIT_DIGITS = ("smollm",)  # those whose digits stand alone, which transformers' conversion leaves out
LEFT_OUT = ("quantization_config", "dtype", "torch_dtype", "_name_or_path")


def from_gguf(file: Path, out: Path) -> None:
    """Write config, weights and tokenizer of a GGUF file into the folder `out`.

    Raises:
        BadInput: it is no GGUF file, or one of an architecture that transformers can't read.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        read: Any = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
        _split_digits(file, tokenizer)
    except Exception as error:  # a damaged file fails wherever the parser happens to be
        raise BadInput(f"{file} can't be read as a GGUF file: {reason_of(error)}.") from error
    kept = {name: value for name, value in read.config.to_dict().items() if name not in LEFT_OUT}
    # transformers does not save a model that it read from GGUF
    model = AutoModelForCausalLM.from_config(type(read.config).from_dict(kept), dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _split_digits(file: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    from gguf import GGUFReader

    field = GGUFReader(file).fields.get(PRE_TOKENIZER)
    if field is None or field.contents() not in SPLIT_DIGITS:
        return
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )


if __name__ == "__main__":
    from_gguf(Path(sys.argv[1]), Path(sys.argv[2]))
