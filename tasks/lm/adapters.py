"""What is attached to a causal LM and can't be merged into its weights: it is saved beside them and attached again.

Soft prompts are peft's: the model is wrapped in a PeftModel. Adapters that peft does not have are modules of the
model, `model.adapter`, that take and change hidden states by forward hooks. A description, a small dictionary with
the kind and the sizes, is all that it takes to attach an adapter of the same shape again.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, PeftType, PrefixTuningConfig, PromptTuningConfig, PromptTuningInit, TaskType, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks import artifact
from tasks.errors import BadInput
from tasks.lm.blocks import blocks_of

DESCRIPTION, WEIGHTS = "adapter.json", "adapter.safetensors"
PREFIX = "adapter."  # of the names of a model's parameters that are its adapter's

Description = dict[str, Any]


def attach(model: PreTrainedModel, description: Description, seed: int) -> PreTrainedModel:
    """Attach what is described; its first weights come from the seed. Return the model to use from now on."""
    kind, sizes = description["kind"], {name: size for name, size in description.items() if name != "kind"}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind in PROMPTS:
            wrapped: Any = get_peft_model(model, PROMPTS[kind](**sizes))
            return wrapped
        model.adapter = ADAPTERS[kind](model, **sizes).to(model.device)
        return model


def description_of(model: PreTrainedModel) -> Description | None:
    """The description of what is attached; None if nothing is."""
    if isinstance(model, PeftModel):
        config = model.active_peft_config
        return {"kind": config.peft_type.value.lower(), "virtual_tokens": config.num_virtual_tokens}
    adapter = getattr(model, "adapter", None)
    return adapter.description() if adapter is not None else None


def adapter_of(model: PreTrainedModel) -> nn.Module:
    """The module that is attached."""
    found = model.prompt_encoder[model.active_adapter] if isinstance(model, PeftModel) else model.adapter
    assert isinstance(found, nn.Module)
    return found


def plain(model: PreTrainedModel) -> PreTrainedModel:
    """The model itself, without a wrapper for soft prompts."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def resume_or_attach(model: PreTrainedModel, description: Description, seed: int) -> PreTrainedModel:
    """Attach what is described, unless the model has brought the same along.

    Raises:
        BadInput: the model has brought something else along.
    """
    carried = description_of(model)
    if carried is None:
        return attach(model, description, seed)
    if carried != description:
        raise BadInput(
            f"The model of the slice before carries {_in_words(carried)}, and methods in params.yaml asks for "
            f"{_in_words(description)}. Keep to one of them over the timeline."
        )
    return model


def _in_words(description: Description) -> str:
    sizes = ", ".join(f"{name}: {size}" for name, size in description.items() if name != "kind")
    return f"{description['kind']} ({sizes})"


def save_adapter(model: PreTrainedModel, folder: Path) -> None:
    """Write what is attached into the model's folder, if anything is."""
    if description := description_of(model):
        artifact.write_json(folder / DESCRIPTION, description)
        weights = adapter_of(model).state_dict()
        save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, folder / WEIGHTS)


def load_adapter(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Attach again what was saved in the folder, if anything was; all parameters can be trained."""
    if not (folder / DESCRIPTION).exists():
        return model
    model = attach(model, artifact.read_json(folder / DESCRIPTION), seed=0)
    adapter_of(model).load_state_dict(load_file(folder / WEIGHTS))
    return model.requires_grad_(True)


def own_weights(model: PreTrainedModel) -> dict[str, Tensor] | None:
    """The weights that a model has without its adapter, by name; None, which stands for all, if it has none."""
    if not hasattr(model, "adapter"):
        return None
    return {name: value for name, value in model.state_dict().items() if not name.startswith(PREFIX)}


# --- soft prompts ---


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


def prompted_states(model: PeftModel, ids: Tensor, embeddings: Tensor | None) -> Tensor:
    """The last hidden states of the text's tokens, [rows, length, width], after the soft prompt."""
    wrapped: Any = model.get_base_model()
    backbone, prompt = wrapped.base_model, model.get_prompt(len(ids))
    if embeddings is None:
        embeddings = wrapped.get_input_embeddings()(ids)
    if model.active_peft_config.peft_type == PeftType.PREFIX_TUNING:
        return backbone(inputs_embeds=embeddings, past_key_values=prompt, use_cache=False).last_hidden_state
    seen = backbone(inputs_embeds=torch.cat([prompt.to(embeddings.dtype), embeddings], 1), use_cache=False)
    return seen.last_hidden_state[:, prompt.shape[1] :]


# --- adapters that are no weights of the backbone: float32, as the trained weights of peft's are ---


class Bottleneck(nn.Module):
    """h + W_up gelu(W_down h) in place of h (Houlsby et al. 2019, section 2.1).

    W_up and its bias begin as zero, so that it begins as identity.
    """

    def __init__(self, model_width: int, width: int):
        super().__init__()
        self.down = nn.Linear(model_width, width)
        self.up = nn.Linear(width, model_width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        change = self.up(nn.functional.gelu(self.down(hidden.to(self.down.weight.dtype))))
        return hidden + change.to(hidden.dtype)

    def after_block(self, block: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """A forward hook. A method, and not a closure: a copy of the model must run its own copy of this."""
        return (self(output[0]), *output[1:]) if isinstance(output, tuple) else self(output)


class Bottlenecks(nn.Module):
    """A bottleneck adapter after every block (one per block, as in Pfeiffer et al. 2021, arXiv 2005.00247)."""

    def __init__(self, model: PreTrainedModel, width: int):
        super().__init__()
        blocks = blocks_of(model)
        self.width = width
        self.each = nn.ModuleList(Bottleneck(model.config.hidden_size, width) for _ in blocks)
        for block, adapter in zip(blocks, self.each, strict=True):
            block.register_forward_hook(adapter.after_block)  # type: ignore[union-attr, arg-type]

    def description(self) -> Description:
        return {"kind": "bottleneck", "width": self.width}


class KLayer(nn.Module):
    """One layer of a K-Adapter: x + W_up f(W_down x), f being a residual feed-forward network."""

    def __init__(self, model_width: int, width: int):
        super().__init__()
        self.down = nn.Linear(model_width, width)
        self.inner = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.up = nn.Linear(width, model_width)

    def forward(self, x: Tensor) -> Tensor:
        low = self.down(x)
        return x + self.up(low + self.inner(low))


class KAdapter(nn.Module):
    """What one slice adds: a = the last of its layers, each taking a block's hidden state plus the layer before.

    Returns W [h; a] + b with h the backbone's last hidden state; W and b begin as zero.
    """

    def __init__(self, model_width: int, width: int, layers: int):
        super().__init__()
        self.layers = nn.ModuleList(KLayer(model_width, width) for _ in range(layers))
        self.join = nn.Linear(2 * model_width, model_width)
        nn.init.zeros_(self.join.weight)
        nn.init.zeros_(self.join.bias)

    def forward(self, taken: list[Tensor], last: Tensor) -> Tensor:
        state = torch.zeros_like(last)
        for hidden, layer in zip(taken, self.layers, strict=True):
            state = layer(hidden + state)
        return self.join(torch.cat([last, state], -1))


class KAdapters(nn.Module):
    """One K-Adapter per slice beside the backbone (Wang et al. 2020, arXiv 2002.01808, section 3).

    There is no information flow between them: what they return is added to the backbone's last hidden state. Three
    things differ from the paper. Their layers have feed-forward networks where it has transformer layers, as
    generation keeps the past of the backbone alone. Hidden states are normalised when they are taken, which those of
    RoBERTa are by themselves. And what the paper concatenates for a task's new classifier is added up here, so that
    the LM head stays as it is.
    """

    def __init__(self, model: PreTrainedModel, width: int, layers: list[int], slices: int):
        super().__init__()
        self.width, self.model_width, self.places = width, model.config.hidden_size, list(layers)
        self.each = nn.ModuleList()
        for _ in range(slices):
            self.add()
        self.taken: dict[int, Tensor] = {}  # of the forward pass that runs, by block
        blocks = blocks_of(model)
        for place in self.places:
            blocks[place].register_forward_hook(partial(self.take, place))
        model.base_model.register_forward_hook(self.after_backbone)

    def add(self) -> None:
        """Add the adapter of one more slice."""
        device = next(self.parameters()).device if len(self.each) else None
        self.each.append(KAdapter(self.model_width, self.width, len(self.places)).to(device))

    def description(self) -> Description:
        return {"kind": "k_adapter", "width": self.width, "layers": self.places, "slices": len(self.each)}

    def take(self, place: int, block: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """A forward hook of a block: keep its hidden state."""
        hidden = (output[0] if isinstance(output, tuple) else output).float()
        self.taken[place] = nn.functional.layer_norm(hidden, hidden.shape[-1:])

    def after_backbone(self, backbone: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """A forward hook of the backbone: add what the adapters make of the states that were taken."""
        taken, last = [self.taken.pop(place) for place in self.places], output.last_hidden_state
        change = sum(adapter(taken, last.float()) for adapter in self.each)
        output.last_hidden_state = last + change.to(last.dtype)
        return output


ADAPTERS = {"bottleneck": Bottlenecks, "k_adapter": KAdapters}
