import pytest
import torch

from tasks.lm.methods.l2 import L2
from tasks.lm.methods.seen import Seen
from tasks.method_params import L2 as L2Settings


def second_slice(model, tokenizer, folder, strength=0.3):
    second = L2(L2Settings(name="l2", strength=strength), seed=0)
    second.seen = Seen(slices=1)
    second.begin(model, tokenizer, folder)
    return second


def test_the_slice_from_the_base_has_nothing_to_keep(tiny, tmp_path):
    model, tokenizer = tiny
    method = L2(L2Settings(name="l2"), seed=0)
    method.begin(model, tokenizer, tmp_path)
    with torch.no_grad():
        model.lm_head.weight += 1
    assert method.penalty(model, None, None) == 0.0


def test_the_penalty_is_the_strength_times_the_squared_distance(tiny, tmp_path):
    model, tokenizer = tiny
    method = second_slice(model, tokenizer, tmp_path)
    before = {name: value.detach().double() for name, value in model.named_parameters()}
    assert method.penalty(model, None, None) == 0.0
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    expected = 0.0
    for name, value in model.named_parameters():
        expected += 0.3 * sum(
            (a - b) ** 2 for a, b in zip(value.flatten().tolist(), before[name].flatten().tolist(), strict=True)
        )
    penalty = method.penalty(model, None, None)
    assert penalty.item() == pytest.approx(expected, rel=1e-4)
    penalty.backward()
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.grad.double(), 0.6 * (value.detach().double() - before[name]))


def test_small_moves_of_bfloat16_weights_add_up(tiny, tmp_path):
    model, tokenizer = tiny
    model.bfloat16()
    with torch.no_grad():
        for value in model.parameters():
            value.zero_()
    method = second_slice(model, tokenizer, tmp_path)
    with torch.no_grad():
        for value in model.parameters():
            value.fill_(2**-7)
    count = sum(value.numel() for value in model.parameters())
    penalty = method.penalty(model, None, None)
    assert penalty.dtype == torch.float32
    assert penalty.item() == pytest.approx(0.3 * count * 2**-14, rel=1e-5)
