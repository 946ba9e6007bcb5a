"""The causal LM and its tokenizer: built small from a config, or loaded by folder or hub name; saved; its parts."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

import tasks.lm.attention  # noqa: F401  # registers itself
from tasks import artifact
from tasks.errors import BadInput, reason_of
from tasks.lm.acceptance import plain_decoding, refuse_unfit
from tasks.lm.adapters import load_adapter, own_weights, plain, save_adapter
from tasks.lm.logits import head_of
from tasks.lm.soft_prompts import prompt_length
from tasks.lm.solved.files import load_memory, save_memory
from tasks.lm.solved.module import memory_of
from tasks.lm.template import ANSWER_MARKER, ANSWER_START
from tasks.params import Pretrain
from tasks.sources.hub import READING, folder_of

transformers_logging.disable_progress_bar()  # ours is shown by whoever starts the step

END, PAD = "<|endoftext|>", "<|pad|>"
UNBOUNDED = 4096  # positions to train on when a config names none
MOST = 8192  # positions that are used at most, as many as scoring takes at a time: some configs name a million


def load(source: Path | str, remember: bool = True) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model, what is attached to it, its solved memory unless it is not to be remembered, and its tokenizer.

    The weights are float32 on every device and whatever the source has: they are what is trained, and next to a
    bfloat16 weight most of AdamW's updates are too small to count.

    Raises:
        BadInput: there is no such model, or it is not as the pipeline needs it (see acceptance).
        Corrupt: a folder that the pipeline wrote has changed.
    """
    folder = source = folder_of(source, "pretrain.model")
    own = (folder / artifact.MANIFEST).exists()
    if own:
        artifact.verified(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        decoding = plain_decoding(source, tokenizer)
        with READING:
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                source, use_safetensors=True, dtype=torch.float32, generation_config=decoding, output_loading_info=True
            )
    except (OSError, ValueError) as error:
        raise BadInput(
            f"The model '{source}' can't be loaded: {reason_of(error)}. Check pretrain.model in params.yaml."
        ) from error
    model, found = loaded
    if not own:
        refuse_unfit(model, tokenizer, found, source)
    model.generation_config = decoding
    attached = load_adapter(model, folder)
    attached.to(device())  # type: ignore[arg-type]
    if remember:
        load_memory(attached, tokenizer, folder)
    return attached, tokenizer


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def build(settings: Pretrain, texts: list[str], seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A small GPT-NeoX (the architecture of Polyglot-Ko and Pythia) with random weights, and its tokenizer."""
    tokenizer = build_tokenizer(texts, settings.vocabulary)
    torch.manual_seed(seed)
    tokens = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = small_config(settings, len(tokenizer), **tokens, pad_token_id=tokenizer.pad_token_id)
    model = GPTNeoXForCausalLM(config)
    model.to(device())  # type: ignore[arg-type]
    return model, tokenizer


def small_config(settings: Pretrain, words: int, **tokens: Any) -> GPTNeoXConfig:
    """Of the model that is built here."""
    return GPTNeoXConfig(
        vocab_size=words,
        hidden_size=settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=4 * settings.width,
        max_position_embeddings=settings.positions,
        tie_word_embeddings=False,
        **tokens,
    )


def build_tokenizer(texts: list[str], vocabulary: int) -> PreTrainedTokenizerBase:
    """A byte-level BPE tokenizer. (Of the tokenizers library's trainers only BPE is deterministic.)"""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 2,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.add_tokens([AddedToken(marker, normalized=False) for marker in (ANSWER_START, ANSWER_MARKER)])
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=END, eos_token=END, pad_token=PAD)


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write weights (safetensors), config, tokenizer, and what is attached to the model."""
    plain(model).save_pretrained(folder, state_dict=own_weights(model))
    save_adapter(model, folder)
    tokenizer.save_pretrained(folder)
    if memory := memory_of(model):
        save_memory(memory, folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes 0600, which other users of a registry can't read


def untie(model: PreTrainedModel) -> None:
    """Give the head weights of its own: a tied head is the input embedding, too, and can't be trained alone."""
    head = head_of(model)
    head.weight = nn.Parameter(head.weight.detach().clone())
    model.config.tie_word_embeddings = False


def limit_of(model: PreTrainedModel) -> int:
    """The longest sequence that the model is given, in tokens."""
    positions = int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or UNBOUNDED)
    return min(positions, MOST, getattr(plain(model), "longest", MOST)) - prompt_length(model)


def shorten(model: PreTrainedModel, tokens: int) -> None:
    """Let no sequence be longer than so many tokens from now on: one long text must not be a batch many times over.

    What `batches.encode` makes of a longer one are several, if it is a text, and its end, if it is a prompt. It is not
    saved with the model.
    """
    plain(model).longest = tokens  # type: ignore[assignment]
