"""The sentence encoder: the mean of subword vectors, built here, or any sentence-transformers model by name.

The small encoder has to learn from a few hundred lines what a word says about a key. Measured on held-out
lines: a BERT without layers finds the right key for 49 %, since its layer norm gives "?" the weight of
"umbrella"; plain vectors, which may grow and shrink, for 62 %; with Hangul taken apart into letters and
punctuation kept off the words, so that the forms of a verb share their stem's pieces, for 80 %.
"""

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers.utils import logging as transformers_logging

from tasks.errors import BadInput, reason_of
from tasks.params import Encoder
from tasks.retrieval.prompts import prompt_of
from tasks.sources.hub import READING, folder_of

UNKNOWN = "[UNK]"

transformers_logging.disable_progress_bar()  # as in tasks/lm/causal.py


def load_encoder(source: Path | str) -> SentenceTransformer:
    """Load a sentence encoder.

    Raises:
        BadInput: there is no such model.
    """
    source = folder_of(source, "encoder.model")
    try:
        with READING:
            return SentenceTransformer(str(source), device=None if torch.cuda.is_available() else "cpu")
    except (OSError, ValueError) as error:
        raise BadInput(f"The encoder '{source}' can't be loaded: {reason_of(error)}. Check encoder.model.") from error


def embed(encoder: SentenceTransformer, texts: Sequence[str], task: str | None = None) -> np.ndarray:
    """Unit vectors, [texts, width], each text encoded alone, as a message is when it is served.

    `task`, query or document, chooses the prompt, and the tower of an encoder that has two.
    """
    prompt = prompt_of(encoder, task) if task else None
    return np.stack([encoder.encode(text, task=task, prompt=prompt, normalize_embeddings=True) for text in texts])


def shorten(encoder: SentenceTransformer, max_length: int) -> None:
    """Let the encoder read at most `max_length` pieces of a text, if it has a limit and reads more."""
    if encoder.max_seq_length and max_length < encoder.max_seq_length < math.inf:
        encoder.max_seq_length = max_length


def save_encoder(encoder: SentenceTransformer, folder: Path) -> None:
    """Write the encoder without a model card, which would carry dates."""
    encoder.save_pretrained(str(folder), create_model_card=False)
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)


def build_encoder(settings: Encoder, texts: list[str], seed: int) -> SentenceTransformer:
    """Mean pooling over random vectors of length about 1, scaled to unit length; the tokenizer is trained on `texts`.

    It stays on the CPU, where it is faster than on a GPU, and has the same bytes with one and without.
    """
    tokenizer = _tokenizer(texts, settings.vocabulary, settings.max_length)
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(tokenizer.get_vocab_size(), settings.width, generator=generator) / settings.width**0.5
    vectors[tokenizer.token_to_id(UNKNOWN)] = 0  # what was never seen says nothing
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, vectors), Normalize()], device="cpu")


def two_towers(encoder: SentenceTransformer) -> SentenceTransformer:
    """DPR's two encoders (Karpukhin et al. 2020), one for messages and one for memories, from one to begin with."""
    towers: list[list[Any]] = [[copy.deepcopy(module) for module in encoder] for _ in range(2)]
    router = Router.for_query_document(query_modules=towers[0], document_modules=towers[1])
    prompts: Any = dict(encoder.prompts)
    return SentenceTransformer(
        modules=[router],
        device=str(encoder.device),
        prompts=prompts,
        default_prompt_name=encoder.default_prompt_name,
    )


def _tokenizer(texts: list[str], vocabulary: int, max_length: int) -> Tokenizer:
    """BPE over letters: of the tokenizers library's trainers only BPE is deterministic."""
    bpe = Tokenizer(models.BPE(unk_token=UNKNOWN))
    bpe.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()  # and punctuation: "[town" has the pieces of "town"
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=[UNKNOWN], show_progress=False)
    bpe.train_from_iterator(texts, trainer)
    bpe.enable_truncation(max_length)
    return bpe
