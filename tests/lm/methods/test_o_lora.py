import pytest
import torch
from safetensors.torch import load_file

from tasks.errors import BadInput
from tasks.lm.causal import load
from tasks.lm.methods.lora import layers_of
from tasks.lm.methods.o_lora import OLoRA
from tasks.method_params import OLoRA as OLoRASettings
from tests.lm.methods.a_slice import changed, contents, logits, start, train_slice, weights


def o_lora(**settings):
    return OLoRA(OLoRASettings(name="o_lora", **({"rank": 4, "alpha": 8} | settings)), seed=3)


def kept(folder):
    return load_file(folder / "method" / "o_lora.safetensors")


def cosines(rows, others):
    """The mean squared cosine between rows: 0 is orthogonal, 1 / width is what chance gives."""
    return float(torch.nn.functional.cosine_similarity(rows[:, None], others[None], dim=-1).square().mean())


def test_the_first_slice_has_no_penalty(tiny, tmp_path):
    model, tokenizer = tiny
    method = o_lora()
    method.begin(model, tokenizer, tmp_path)
    assert method.penalty(model, None, None) == 0.0


def test_the_penalty_is_the_sum_over_all_slices_layers_and_pairs_of_rows(tiny, rows, tmp_path):
    previous = start(tiny, tmp_path / "base")
    for name in ("one", "two"):
        train_slice(o_lora(), rows, previous, tmp_path / name)
        previous = tmp_path / name
    earlier = kept(previous)
    assert {value.shape for value in earlier.values()} == {(8, 32)}
    model, tokenizer = load(previous)
    method = o_lora(strength=0.25)
    model = method.begin(model, tokenizer, previous)
    expected = 0.0
    for name, layer in layers_of(model).items():
        for old in earlier[name].tolist():
            for new in layer.lora_A["default"].weight.tolist():
                expected += sum(x * y for x, y in zip(old, new, strict=True)) ** 2
    assert float(method.penalty(model, None, None)) == pytest.approx(0.25 * expected, rel=1e-5)
    assert expected > 0.1


def test_a_slice_becomes_orthogonal_to_the_ones_before(tiny, rows, tmp_path):
    base = start(tiny, tmp_path / "base")
    train_slice(o_lora(), rows[:6], base, tmp_path / "one")
    overlaps = {}
    for strength in (1e-6, 5.0):
        train_slice(o_lora(strength=strength), rows[6:], tmp_path / "one", tmp_path / f"two-{strength}", steps=40)
        both = kept(tmp_path / f"two-{strength}").values()
        overlaps[strength] = sum(cosines(each[:4], each[4:]) for each in both) / len(both)
    assert overlaps[5.0] < 0.1 * overlaps[1e-6]
    assert overlaps[1e-6] > 0.3 / 32


def test_slices_do_not_begin_alike(tiny, rows, tmp_path):
    """With the same start the penalty would begin at its worst."""
    base = start(tiny, tmp_path / "base")
    train_slice(o_lora(), rows, base, tmp_path / "one")
    starts = []
    for previous in (base, tmp_path / "one"):
        model, tokenizer = load(previous)
        model = o_lora().begin(model, tokenizer, previous)
        starts.append(next(iter(layers_of(model).values())).lora_A["default"].weight.detach())
    assert cosines(*starts) < 0.2


def test_it_is_merged_and_the_earlier_directions_are_carried_on(tiny, rows, tmp_path):
    base = start(tiny, tmp_path / "base")
    merged, trained = train_slice(o_lora(), rows[:6], base, tmp_path / "one")
    torch.testing.assert_close(logits(merged), trained, rtol=1e-4, atol=1e-5)
    assert torch.equal(logits(load(tmp_path / "one")[0]), logits(merged))
    assert len(changed(weights(base), weights(tmp_path / "one"))) == 2
    train_slice(o_lora(rank=2), rows[6:], tmp_path / "one", tmp_path / "two")
    first, second = kept(tmp_path / "one"), kept(tmp_path / "two")
    for name, value in second.items():
        assert value.shape == (6, 32)
        assert torch.equal(value[:4], first[name])


def test_other_layers_than_before_are_the_users_mistake(tiny, rows, tmp_path):
    train_slice(o_lora(), rows, start(tiny, tmp_path / "base"), tmp_path / "one")
    model, tokenizer = load(tmp_path / "one")
    with pytest.raises(BadInput, match="the same layers"):
        o_lora(target_modules=("dense",)).begin(model, tokenizer, tmp_path / "one")


def test_two_runs_give_the_same_bytes(tiny, rows, tmp_path):
    base = start(tiny, tmp_path / "base")
    for name in ("a", "b"):
        train_slice(o_lora(), rows[:6], base, tmp_path / name)
        train_slice(o_lora(dropout=0.1), rows[6:], tmp_path / name, tmp_path / f"{name}2")
    assert contents(tmp_path / "a2") == contents(tmp_path / "b2")
