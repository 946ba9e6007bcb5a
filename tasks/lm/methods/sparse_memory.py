"""Sparse memory fine-tuning: only the memory slots most specific to a slice are trained (Lin et al. 2025, 2510.15103).

A transformer's MLP is a key-value memory (Geva et al. 2021, arXiv 2012.14913): slot i is one hidden unit, with row i
of the up-projection as its key and column i of the down-projection as its value. A token accesses the slots that
are most active. The score is TF-IDF, as in Lin et al.; accesses are the terms here, and rows the documents:

    score(i) = c(i) / sum_j c(j) * log((1 + N) / (1 + df(i)))

c(i) counts the accesses by the slice's rows, and df(i) of the N rows of earlier slices accessed slot i. The slots of
the highest score in each layer are trained, and nothing else is. Where no row was counted before, because the base was
pretrained elsewhere or other methods taught it, every slot is as rare, and c(i) alone decides.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.errors import BadInput
from tasks.lm.batches import Mixture, Sequence, batches_of, encode
from tasks.lm.causal import limit_of
from tasks.lm.logits import head_of, hidden_states
from tasks.lm.methods.method import Method, Row, Shares
from tasks.method_params import SparseMemory as SparseMemorySettings

FREQUENCIES = "sparse_memory.safetensors"
MEASURED_TOKENS = 4096  # per forward pass
ROWS = "rows"
UPS = {  # by the down-projection's name, what its block may have beside it
    "dense_4h_to_h": ("dense_h_to_4h",),
    "down_proj": ("up_proj", "gate_proj", "gate_up_proj"),  # the last one is both in one: slot i's rows are i and n + i
    "fc2": ("fc1",),
}
Item = TypeVar("Item")


@final
class SparseMemory(Method):
    """Trains `slots` of each layer's memory. The first slice of a base that was built here trains everything.

    What the next slice needs is one count per slot, whatever the number of slices.
    """

    def __init__(self, settings: SparseMemorySettings, seed: int):
        self.settings = settings
        self.seed = seed
        self.earlier: dict[str, Tensor] = {}
        self.spares = False  # whether there is something to keep, so that only some slots are trained
        self.frozen_slots: list[tuple[Tensor, Tensor, Tensor]] = []  # a weight, which of it is trained, and what it was

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        self.model, self.tokenizer = model, tokenizer
        path = previous / "method" / FREQUENCIES
        self.earlier = load_file(path) if path.exists() else {}
        self.spares = bool(self.earlier) or self.seen.knows
        if self.spares:
            model.requires_grad_(False)
            for name in memories(model):
                for weight, _ in slot_weights(model, name):
                    weight.requires_grad_(True)
            head_of(model).weight.requires_grad_(self.settings.head)
            if self.settings.embeddings:
                model.get_input_embeddings().weight.requires_grad_(True)
        return model

    def examples(self, shares: Shares, older: list[Row]) -> Shares:
        if self.spares:
            measured = shares[0].rows or [row for each in shares for row in each.rows]
            rows = sampled(measured, self.settings.samples, self.seed)
            counts, _ = accesses(self.model, encode(rows, self.tokenizer, limit_of(self.model)), self.settings.accessed)
            for name, count in counts.items():
                frequency = self.earlier.get(name, torch.zeros_like(count))
                score = specificity(count, frequency, int(self.earlier.get(ROWS, 0)))
                best = score.argsort(descending=True, stable=True)[: max(1, round(self.settings.slots * len(score)))]
                chosen = torch.zeros(len(score), dtype=torch.bool).index_fill_(0, best, True).to(self.model.device)
                for weight, dimension in slot_weights(self.model, name):
                    numbered = chosen.repeat(weight.shape[dimension] // len(chosen))
                    trained = numbered.view([-1 if each == dimension else 1 for each in range(weight.dim())])
                    self.frozen_slots.append((weight, trained, weight.detach().clone()))
        return shares

    @torch.no_grad()
    def after_update(self, model: PreTrainedModel, step: int) -> None:
        for weight, trained, before in self.frozen_slots:  # weight decay moves what has no gradient, too
            weight.copy_(torch.where(trained, weight, before))

    def end(self, model: PreTrainedModel, data: Mixture, out: Path) -> PreTrainedModel:
        sequences = sampled(data.parts[0].sequences, self.settings.samples, self.seed)
        _, found = accesses(model, sequences, self.settings.accessed)
        found[ROWS] = torch.tensor(len(sequences))
        out.mkdir(exist_ok=True)
        save_file({name: each + self.earlier.get(name, 0) for name, each in found.items()}, out / FREQUENCIES)
        model.requires_grad_(True)
        return model


def specificity(count: Tensor, frequency: Tensor, rows: int) -> Tensor:
    """The score of each slot: its share of all accesses, times log((1 + N) / (1 + df)), or 1 if there were no rows."""
    rarity = ((1 + rows) / (1 + frequency.double())).log() if rows else torch.ones(len(frequency))
    return count.double() / max(1, int(count.sum())) * rarity


def memories(model: PreTrainedModel) -> dict[str, nn.Linear]:
    """The down-projection of each block's MLP, by name.

    Raises:
        BadInput: the model's MLPs are not known here.
    """
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and _has_ups(model, name)
    }
    if not found:
        raise BadInput(f"sparse_memory knows no MLP of {type(model).__name__}. Leave it out of methods in params.yaml.")
    return found


def _has_ups(model: PreTrainedModel, name: str) -> bool:
    block, _, down = name.rpartition(".")
    return any(isinstance(getattr(model.get_submodule(block), up, None), nn.Linear) for up in UPS.get(down, ()))


def slot_weights(model: PreTrainedModel, name: str) -> Iterator[tuple[nn.Parameter, int]]:
    """The weights of a memory's slots, and which dimension of each numbers the slots, once or several times over."""
    block, _, down = name.rpartition(".")
    weights = dict(model.named_parameters())
    yield weights[f"{name}.weight"], 1  # its bias belongs to no slot
    for up in UPS[down]:
        for kind in ("weight", "bias"):
            if f"{block}.{up}.{kind}" in weights:
                yield weights[f"{block}.{up}.{kind}"], 0


@torch.no_grad()
def accesses(
    model: PreTrainedModel, sequences: list[Sequence], accessed: float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """By memory and slot: how many answer places access it, and how many sequences do.

    A place accesses the share `accessed` of a layer's slots that are the most active there, by magnitude.
    """
    model.eval()
    active: dict[str, Tensor] = {}

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            active[name] = inputs[0]

        return hook

    places = {name: torch.zeros(down.in_features, dtype=torch.long) for name, down in memories(model).items()}
    rows = {name: torch.zeros_like(each) for name, each in places.items()}
    handles = [down.register_forward_pre_hook(watch(name)) for name, down in memories(model).items()]
    for _, batch in batches_of(sequences, MEASURED_TOKENS, model.device):
        hidden_states(model, batch.ids)
        for name, flat in active.items():
            activity = flat.reshape(*batch.ids.shape, -1)  # OPT's layers are given all places in one dimension
            most = activity.abs().topk(max(1, round(accessed * activity.shape[-1])), dim=-1).indices
            found = torch.zeros_like(activity, dtype=torch.bool).scatter_(-1, most, True) & batch.predicts[..., None]
            places[name] += found.sum((0, 1)).cpu()
            rows[name] += found.any(1).sum(0).cpu()
    for handle in handles:
        handle.remove()
    return places, rows


def sampled(items: list[Item], count: int, seed: int) -> list[Item]:
    """A uniform sample of at most `count` items."""
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(seed)).tolist()
    return [items[index] for index in order[:count]]
