"""Soft prompts: the model is frozen, and only virtual tokens before the text are trained, on from slice to slice.

PromptTuning trains their embeddings (Lester et al. 2021, arXiv 2104.08691), PrefixTuning their keys and values in
every layer (Li and Liang 2021, arXiv 2101.00190, section 4), both through peft. The tokens take positions: texts get
that much shorter.
"""

from pathlib import Path
from typing import final

import torch
from peft.tuners.cartridge.utils import initialize_kv_prefix_from_past_key_values
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.errors import BadInput
from tasks.lm.adapters import adapter_of, description_of, plain, resume_or_attach
from tasks.lm.batches import Mixture
from tasks.lm.causal import limit_of
from tasks.lm.methods.method import Method
from tasks.method_params import PrefixTuning as PrefixTuningSettings
from tasks.method_params import PromptTuning as PromptTuningSettings

MOST = 0.5  # of the model's positions


@final
class PromptTuning(Method):
    """Trains the embeddings of the virtual tokens; they begin as tokens drawn from the vocabulary."""

    def __init__(self, settings: PromptTuningSettings, seed: int):
        self.settings = settings
        self.seed = seed

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        return prompted(model, self.settings, self.seed)

    def before_update(self, model: PreTrainedModel, step: int, rate: float) -> float:
        return rate * self.settings.learning_rate_factor

    def end(self, model: PreTrainedModel, data: Mixture, out: Path) -> PreTrainedModel:
        return model.requires_grad_(True)


@final
class PrefixTuning(Method):
    """Trains the keys and values of the virtual tokens; they begin as those of tokens drawn from the vocabulary.

    The paper finds that start better than a random one (section 7.4). Its reparametrisation by an MLP is left out: the
    MLP would have to be kept, for the next slice to train on.
    """

    def __init__(self, settings: PrefixTuningSettings, seed: int):
        self.settings = settings
        self.seed = seed

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        fresh = description_of(model) is None
        model = prompted(model, self.settings, self.seed)
        if fresh:
            self._start_with_words(model)
        return model

    @torch.no_grad()
    def _start_with_words(self, model: PreTrainedModel) -> None:
        random = torch.Generator().manual_seed(self.seed)
        ids = torch.randint(model.config.vocab_size, (1, self.settings.virtual_tokens), generator=random)
        model.eval()
        seen = plain(model).base_model(input_ids=ids.to(model.device), use_cache=True)
        initialize_kv_prefix_from_past_key_values(model, past_key_values=seen.past_key_values)

    def before_update(self, model: PreTrainedModel, step: int, rate: float) -> float:
        return rate * self.settings.learning_rate_factor

    def end(self, model: PreTrainedModel, data: Mixture, out: Path) -> PreTrainedModel:
        return model.requires_grad_(True)


def prompted(
    model: PreTrainedModel, settings: PromptTuningSettings | PrefixTuningSettings, seed: int
) -> PreTrainedModel:
    """The model with its soft prompt, of which alone the weights can be trained.

    Raises:
        BadInput: the prompt leaves less than half of the positions to the text, or another kind is attached.
    """
    if settings.virtual_tokens > MOST * limit_of(plain(model)):
        raise BadInput(
            f"{settings.virtual_tokens} virtual tokens are more than half of the {limit_of(plain(model))} positions "
            "of the model: lower virtual_tokens under methods in params.yaml."
        )
    model = resume_or_attach(model, {"kind": settings.name, "virtual_tokens": settings.virtual_tokens}, seed)
    model.requires_grad_(False)
    adapter_of(model).requires_grad_(True)
    return model
