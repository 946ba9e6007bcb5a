import math

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from tasks.errors import BadInput
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.methods.method import Share
from tasks.lm.methods.seen import Seen
from tasks.lm.methods.sparse_memory import SparseMemory, accesses, memories, slot_weights, specificity
from tasks.lm.training import Schedule, train
from tasks.method_params import SparseMemory as SparseMemorySettings
from tests.lm import architectures

SLOTS = 128  # of each layer of the tiny model


def settings(**given):
    return SparseMemorySettings(name="sparse_memory", **given)


def snapshot(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def mixture(model, tokenizer, rows, steps=6):
    return Mixture([Part(encode(rows, tokenizer, 64), 1.0)], 96, steps, 3, model.device)


def after_one_slice(model, tokenizer, rows, folder, **given):
    """A method that has seen a slice of these rows, and left its file in `folder`."""
    first = SparseMemory(settings(**given), seed=0)
    first.begin(model, tokenizer, folder / "base")
    first.examples([Share(rows, 1.0)], [])
    first.end(model, mixture(model, tokenizer, rows), folder / "method")


def trained_on(model, tokenizer, rows, folder, **given):
    method = SparseMemory(settings(**given), seed=0)
    method.begin(model, tokenizer, folder)
    method.examples([Share(rows, 1.0)], [])
    before = snapshot(model)
    train(
        model, mixture(model, tokenizer, rows), Schedule(6, 1e-2, 0.1), methods=[method], scratch=folder / "scratch",
        log=lambda *_: None, seed=0,
    )  # fmt: skip
    return method, before


def chosen_slots(method, name):
    return next(trained.flatten() for weight, trained, _ in method.frozen_slots if weight is name)


def test_the_score_is_the_share_of_accesses_times_the_logarithm_of_rarity():
    score = specificity(torch.tensor([6, 3, 1, 0]), torch.tensor([9, 0, 4, 0]), rows=9)
    expected = [0.6 * math.log(10 / 10), 0.3 * math.log(10 / 1), 0.1 * math.log(10 / 5), 0.0]
    assert score.tolist() == pytest.approx(expected)


def test_a_slot_that_every_earlier_row_used_is_never_specific():
    score = specificity(torch.tensor([1000, 1]), torch.tensor([50, 10]), rows=50)
    assert score[1] > score[0] == 0


def test_accesses_are_the_most_active_slots_at_each_answer_place(tiny, rows):
    model, tokenizer = tiny
    sequences = encode(rows, tokenizer, 64)
    places, found = accesses(model, sequences, accessed=0.05)  # 6 of 128
    for layer, block in enumerate(model.gpt_neox.layers):
        counted, documents = [0] * SLOTS, [0] * SLOTS
        for sequence in sequences:  # by hand: one row at a time, the MLP's own input, one place after the other
            seen = []
            handle = block.mlp.register_forward_hook(
                lambda module, inputs, output, seen=seen: seen.append(inputs[0][0])
            )
            model(torch.tensor([sequence.ids]))
            handle.remove()
            active = nn.functional.gelu(seen[0] @ block.mlp.dense_h_to_4h.weight.T + block.mlp.dense_h_to_4h.bias)
            used = set()
            for place in range(sequence.start - 1, len(sequence.ids) - 1):
                best = sorted(range(SLOTS), key=lambda slot: -abs(float(active[place, slot].detach())))[:6]
                used |= set(best)
                for slot in best:
                    counted[slot] += 1
            for slot in used:
                documents[slot] += 1
        name = f"gpt_neox.layers.{layer}.mlp.dense_4h_to_h"
        assert places[name].tolist() == counted
        assert found[name].tolist() == documents


def test_only_the_chosen_slots_change_and_all_else_is_bit_identical(tiny, rows, tmp_path):
    model, tokenizer = tiny
    after_one_slice(model, tokenizer, rows[6:], tmp_path)
    method, before = trained_on(model, tokenizer, rows[:6], tmp_path, slots=0.1)
    after = snapshot(model)
    for name in memories(model):
        block = name.removesuffix(".dense_4h_to_h")
        mask = chosen_slots(method, model.get_parameter(f"{name}.weight"))
        assert int(mask.sum()) == 13  # a tenth of 128
        down, down_before = after.pop(f"{name}.weight"), before[f"{name}.weight"]
        up, up_before = after.pop(f"{block}.dense_h_to_4h.weight"), before[f"{block}.dense_h_to_4h.weight"]
        bias, bias_before = after.pop(f"{block}.dense_h_to_4h.bias"), before[f"{block}.dense_h_to_4h.bias"]
        assert (down[:, mask] != down_before[:, mask]).all(0).any() and (up[mask] != up_before[mask]).any(1).all()
        assert (bias[mask] != bias_before[mask]).all()
        assert torch.equal(down[:, ~mask], down_before[:, ~mask])
        assert torch.equal(up[~mask], up_before[~mask])
        assert torch.equal(bias[~mask], bias_before[~mask])
    for name, value in after.items():
        assert torch.equal(value, before[name]), name


def test_the_chosen_slots_are_those_of_the_highest_score(tiny, rows, tmp_path):
    model, tokenizer = tiny
    after_one_slice(model, tokenizer, rows[6:], tmp_path)
    earlier = load_file(tmp_path / "method" / "sparse_memory.safetensors")
    method = SparseMemory(settings(slots=0.05), seed=0)
    method.begin(model, tokenizer, tmp_path)
    method.examples([Share(rows[:6], 1.0)], [])
    counts, _ = accesses(model, encode(rows[:6], tokenizer, 64), 0.05)
    for name, count in counts.items():
        score = [
            int(c) / int(count.sum()) * math.log((1 + 6) / (1 + int(df)))
            for c, df in zip(count, earlier[name], strict=True)
        ]
        mask = chosen_slots(method, model.get_parameter(f"{name}.weight"))
        worst_chosen = min(score[slot] for slot in range(SLOTS) if mask[slot])
        assert worst_chosen >= max(score[slot] for slot in range(SLOTS) if not mask[slot]) - 1e-12
        assert int(mask.sum()) == 6


def test_the_counts_of_a_slice_add_to_those_of_the_slices_before(tiny, rows, tmp_path):
    model, tokenizer = tiny
    after_one_slice(model, tokenizer, rows[6:], tmp_path)
    path = tmp_path / "method" / "sparse_memory.safetensors"
    one, size = load_file(path), path.stat().st_size
    assert int(one["rows"]) == 6
    method, _ = trained_on(model, tokenizer, rows[:4], tmp_path)
    method.end(model, mixture(model, tokenizer, rows[:4]), tmp_path / "method")
    two = load_file(path)
    _, found = accesses(model, encode(rows[:4], tokenizer, 64), 0.05)
    assert int(two["rows"]) == 10
    for name, each in found.items():
        assert torch.equal(two[name], one[name] + each)
    assert path.stat().st_size == size  # whatever the number of slices
    assert all(value.requires_grad for value in model.parameters())


def test_the_first_slice_of_a_pretrained_base_trains_the_slots_that_it_uses_most(tiny, rows, tmp_path):
    model, tokenizer = tiny
    method = SparseMemory(settings(slots=0.1), seed=0)
    method.seen = Seen(pretrained=True)
    method.begin(model, tokenizer, tmp_path)
    method.examples([Share(rows, 1.0)], [])
    counts, _ = accesses(model, encode(rows, tokenizer, 64), 0.05)
    for name, count in counts.items():
        mask = chosen_slots(method, model.get_parameter(f"{name}.weight"))
        assert int(mask.sum()) == 13 and count[mask].min() >= count[~mask].max()
    assert not model.gpt_neox.embed_in.weight.requires_grad


def test_the_first_slice_trains_everything(tiny, rows, tmp_path):
    model, tokenizer = tiny
    method, before = trained_on(model, tokenizer, rows, tmp_path, slots=0.1)
    assert method.frozen_slots == []
    assert all(not torch.equal(value, before[name]) for name, value in model.named_parameters())


@pytest.mark.parametrize(
    ("given", "also"), [({"head": True}, "embed_out.weight"), ({"embeddings": True}, "gpt_neox.embed_in.weight")]
)
def test_head_and_embeddings_are_trained_on_request(tiny, rows, tmp_path, given, also):
    model, tokenizer = tiny
    also = also if also in dict(model.named_parameters()) else "lm_head.weight"
    after_one_slice(model, tokenizer, rows[6:], tmp_path)
    _, before = trained_on(model, tokenizer, rows[:6], tmp_path, **given)
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert {name for name in changed if ".mlp." not in name} == {also}


def test_a_resumed_run_chooses_the_same_slots(tiny, rows, tmp_path):
    model, tokenizer = tiny
    after_one_slice(model, tokenizer, rows[6:], tmp_path)
    masks = []
    for _ in range(2):
        method = SparseMemory(settings(samples=4), seed=3)
        method.begin(model, tokenizer, tmp_path)
        method.examples([Share(rows[:6], 1.0)], [])
        masks.append(torch.cat([trained.flatten() for _, trained, _ in method.frozen_slots]))
    assert torch.equal(*masks)


def test_a_gated_mlp_has_two_keys_per_slot(rows, tmp_path, tiny):
    _, tokenizer = tiny
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=40, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=64,
        )
    )  # fmt: skip
    name = "model.layers.0.mlp.down_proj"
    assert [weight.shape for weight, _ in slot_weights(model, name)] == [(16, 40), (40, 16), (40, 16)]
    after_one_slice(model, tokenizer, rows[6:], tmp_path)
    method, before = trained_on(model, tokenizer, rows[:6], tmp_path, slots=0.2)
    mask = chosen_slots(method, model.get_parameter(f"{name}.weight"))
    gate = "model.layers.0.mlp.gate_proj.weight"
    assert torch.equal(model.get_parameter(gate)[~mask], before[gate][~mask])
    assert (model.get_parameter(gate)[mask] != before[gate][mask]).any(1).all()


def test_a_model_without_a_known_mlp_is_refused():
    class Other(nn.Module):
        pass

    with pytest.raises(BadInput, match="no MLP of Other"):
        memories(Other())


@pytest.mark.parametrize("kind", ["phi3", "glm", "mpt", "opt", "phi", "olmo2"])
def test_only_the_chosen_slots_move_whatever_the_layers_of_an_mlp_are_called(kind, rows, tmp_path):
    words, model = architectures.tokenizer(), architectures.tiny_model(kind)
    after_one_slice(model, words, rows, tmp_path, slots=0.25)
    method, before = trained_on(model, words, rows[:3], tmp_path, slots=0.25)
    after = dict(model.named_parameters())
    name, memory = next(iter(memories(model).items()))
    slots = memory.in_features
    chosen = next(trained.flatten() for weight, trained, _ in method.frozen_slots if weight is memory.weight)
    assert int(chosen.sum()) == round(0.25 * slots)
    for weight, dimension in slot_weights(model, name):
        own = next(key for key, value in after.items() if value is weight)
        moved = (after[own] != before[own]).transpose(0, dimension).flatten(1 if weight.dim() > 1 else 0)
        moved = moved.any(1) if weight.dim() > 1 else moved
        assert torch.equal(moved & ~chosen.repeat(len(moved) // slots), torch.zeros_like(moved)) and moved.any()
    fused = sum(weight.shape[dimension] == 2 * slots for weight, dimension in slot_weights(model, name))
    assert fused == (1 if kind in ("phi3", "glm") else 0)
