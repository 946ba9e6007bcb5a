"""What a model that comes from outside must be like, so that all that is built on it holds."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import cached_file

from tasks.errors import BadInput
from tasks.lm.logits import exactly, head_of, hidden_states, logits_of

PROBE = 6  # tokens
TOLERANCE = 1e-3  # of the largest logit: float32 in another order of operations differs by 1e-6
STAY = ("bos_token_id", "pad_token_id", "_from_model_config", "transformers_version")


def refuse_unfit(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, found: dict[str, Any], source: Path | str
) -> None:
    """Check a model that the pipeline did not write.

    Args:
        found: which weights were there, as transformers tells it.

    Raises:
        BadInput: the pipeline can't learn with it.
    """
    if getattr(model, "_hf_peft_config_loaded", False):  # of such a model only the adapter would be saved
        raise BadInput(
            f"'{source}' holds an adapter over another model. Merge them first, in Python: AutoPeftModelForCausalLM"
            ".from_pretrained(...).merge_and_unload().save_pretrained(...), and name the new folder."
        )
    if missing := sorted(found["missing_keys"]):
        raise BadInput(
            f"The weights of '{source}' lack {len(missing)} of those that a {type(model).__name__} has "
            f"({missing[0]}): it would start with random ones. Use the whole causal language model's folder."
        )
    head_of(model)
    refuse_small_embedding(model, tokenizer, source)
    refuse_other_logits(model, source)


def refuse_small_embedding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, source: Path | str) -> None:
    """Refuse a tokenizer that makes numbers for which the model has no embedding.

    Raises:
        BadInput: there are more tokens than rows.
    """
    rows = _rows(model)
    tokens = max(tokenizer.get_vocab().values(), default=-1) + 1
    if tokens > rows:
        raise BadInput(
            f"The tokenizer of '{source}' has {tokens} tokens and the model's embedding only {rows} rows. Use the "
            "tokenizer that the model was trained with, or give the model more rows (resize_token_embeddings)."
        )


@torch.no_grad()
def refuse_other_logits(model: PreTrainedModel, source: Path | str) -> None:
    """Compare our logits with those of the model's own forward pass, on two rows that differ in their last token.

    Raises:
        BadInput: they differ, or a token's logits depend on what comes after it.
    """
    model.eval()
    kind, words = type(model).__name__, _rows(model)
    ids = torch.arange(1, PROBE + 1, device=model.device).remainder(words).repeat(2, 1)
    ids[1, -1] = 0
    with exactly():
        ours = logits_of(model, hidden_states(model, ids))
    own = model(input_ids=ids, use_cache=False).logits.float()
    scale = TOLERANCE * own.abs().max()
    if ours.shape != own.shape or not (ours - own).abs().max() <= scale:
        raise BadInput(
            f"The model '{source}' ({kind}) does something between its head and its logits that is not known here: "
            "they would be wrong. Choose another model."
        )
    if not (own[0, :-1] - own[1, :-1]).abs().max() <= scale:
        raise BadInput(
            f"The model '{source}' ({kind}) reads what comes after a token to predict it: it is no causal language "
            "model. Choose another one."
        )


def _rows(model: PreTrainedModel) -> int:
    embeddings: Any = model.get_input_embeddings()
    return int(embeddings.weight.shape[0])


def plain_decoding(source: Path | str, tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """How a model generates: what it finds likeliest, whatever its generation_config.json asks for.

    A repetition penalty, a forced or suppressed token or beams would make other answers than those that are scored.
    What ends a text stays, if it is a token made for that, and not a piece of text.

    Raises:
        BadInput: the file is no JSON.
    """
    found = (
        cached_file(source, name, _raise_exceptions_for_missing_entries=False)
        for name in ("generation_config.json", "config.json")
    )
    file = next(filter(None, found), None)
    try:
        before = json.loads(Path(file).read_text(encoding="utf-8")) if file else {}
    except ValueError as error:
        raise BadInput(f"{file} is no JSON ({error}). Fetch the model anew.") from error
    ends = before.get("eos_token_id")
    ends = [end for end in (ends if isinstance(ends, list) else [ends]) if end in tokenizer.added_tokens_decoder]
    ends = ends or [tokenizer.eos_token_id]
    return GenerationConfig(
        eos_token_id=ends[0] if len(ends) == 1 else ends,
        use_cache=True,
        output_attentions=False,
        output_hidden_states=False,
        **{name: before[name] for name in STAY if name in before},
    )
