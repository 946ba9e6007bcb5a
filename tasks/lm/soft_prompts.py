"""Soft prompts, which are peft's: virtual tokens before the text, the model being wrapped in a PeftModel."""

from typing import Any

import torch
from peft import PeftModel, PeftType, PrefixTuningConfig, PromptTuningConfig, PromptTuningInit, TaskType
from torch import Tensor
from transformers import PreTrainedModel


def prompt_tuning(virtual_tokens: int) -> PromptTuningConfig:
    """Soft tokens before the text, which start as tokens of the vocabulary (Lester et al. 2021, section 3.2)."""
    return PromptTuningConfig(
        task_type=TaskType.CAUSAL_LM,
        num_virtual_tokens=virtual_tokens,
        prompt_tuning_init=PromptTuningInit.SAMPLE_VOCAB,
    )


def prefix_tuning(virtual_tokens: int) -> PrefixTuningConfig:
    """Keys and values that every layer attends to, before those of the text (Li and Liang 2021, section 4)."""
    return PrefixTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=virtual_tokens)


PROMPTS = {"prompt_tuning": prompt_tuning, "prefix_tuning": prefix_tuning}


def prompt_length(model: PreTrainedModel) -> int:
    """Positions that a soft prompt takes from the text."""
    return int(model.active_peft_config.num_virtual_tokens) if isinstance(model, PeftModel) else 0


def has_prefix(model: PreTrainedModel | PeftModel) -> bool:
    """Whether every block has keys and values of its own before the text."""
    return isinstance(model, PeftModel) and model.active_peft_config.peft_type == PeftType.PREFIX_TUNING


def prompted_states(model: PeftModel, ids: Tensor, embeddings: Tensor | None) -> Tensor:
    """The last hidden states of the text's tokens, [rows, length, width], after the soft prompt."""
    wrapped: Any = model.get_base_model()
    backbone, prompt = wrapped.base_model, model.get_prompt(len(ids))
    if embeddings is None:
        embeddings = wrapped.get_input_embeddings()(ids)
    if has_prefix(model):
        return backbone(inputs_embeds=embeddings, past_key_values=prompt, use_cache=False).last_hidden_state
    seen = backbone(inputs_embeds=torch.cat([prompt.to(embeddings.dtype), embeddings], 1), use_cache=False)
    return seen.last_hidden_state[:, prompt.shape[1] :]
