"""The causal LM and its tokenizer: built small from a config, or loaded by folder or hub name; saved; its parts."""

from pathlib import Path

import torch
from peft import PeftModel
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
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

from tasks import artifact
from tasks.errors import BadInput, reason_of
from tasks.lm.adapters import (
    load_adapter,
    own_weights,
    plain,
    prompt_length,
    prompted_states,
    save_adapter,
)
from tasks.lm.batches import Batch
from tasks.lm.template import ANSWER_MARKER, ANSWER_START
from tasks.params import Pretrain
from tasks.sources import folder_of

transformers_logging.disable_progress_bar()  # ours is shown by whoever starts the step

END, PAD = "<|endoftext|>", "<|pad|>"
UNBOUNDED = 4096  # positions to train on when a config names none


def load(source: Path | str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model, what is attached to it, and its tokenizer, as float32 on the CPU or bfloat16 on a GPU.

    Raises:
        BadInput: there is no such model, or its head can't be applied apart from its backbone.
        Corrupt: a folder that the pipeline wrote has changed.
    """
    folder = source = folder_of(source, "pretrain.model")
    if (folder / artifact.MANIFEST).exists():
        artifact.verified(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        model = AutoModelForCausalLM.from_pretrained(source, use_safetensors=True, dtype=_dtype())
    except (OSError, ValueError) as error:
        raise BadInput(
            f"The model '{source}' can't be loaded: {reason_of(error)}. Check pretrain.model in params.yaml."
        ) from error
    if getattr(model.config, "final_logit_softcapping", None):
        raise BadInput(f"The model '{source}' soft-caps its logits, which the head refit does not support.")
    attached = load_adapter(model, folder)
    attached.to(device())  # type: ignore[arg-type]
    return attached, tokenizer


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _dtype() -> torch.dtype:
    return torch.bfloat16 if torch.cuda.is_available() else torch.float32


def build(settings: Pretrain, texts: list[str], seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A small GPT-NeoX (the architecture of Polyglot-Ko and Pythia) with random weights, and its tokenizer."""
    tokenizer = build_tokenizer(texts, settings.vocabulary)
    torch.manual_seed(seed)
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=4 * settings.width,
        max_position_embeddings=settings.positions,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    model = GPTNeoXForCausalLM(config)
    model.to(device())  # type: ignore[arg-type]
    return model, tokenizer


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
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes 0600, which other users of a registry can't read


def head_of(model: PreTrainedModel) -> nn.Linear:
    """The LM head."""
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Linear)
    return head


def hidden_states(model: PreTrainedModel, ids: Tensor, embeddings: Tensor | None = None) -> Tensor:
    """The backbone's last hidden states: [rows, length] token ids -> [rows, length, width].

    Rows are padded on the right; under causal attention no real position sees the padding, so no mask is needed.
    `embeddings`, [rows, length, width], stand in for the tokens' own.
    """
    if isinstance(model, PeftModel):
        return prompted_states(model, ids, embeddings)
    if embeddings is not None:
        return model.base_model(inputs_embeds=embeddings, use_cache=False).last_hidden_state
    return model.base_model(input_ids=ids, use_cache=False).last_hidden_state


def answer_logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    """The logits for a batch's labels, [places, vocabulary], in float32; at those places only."""
    return head_of(model)(hidden_states(model, batch.ids)[batch.predicts]).float()


def untie(model: PreTrainedModel) -> None:
    """Give the head weights of its own: a tied head is the input embedding, too, and can't be trained alone."""
    head = head_of(model)
    head.weight = nn.Parameter(head.weight.detach().clone())
    model.config.tie_word_embeddings = False


def limit_of(model: PreTrainedModel) -> int:
    """The longest sequence that the model takes, in tokens."""
    positions = int(getattr(model.config, "max_position_embeddings", None) or UNBOUNDED)
    return positions - prompt_length(model)
