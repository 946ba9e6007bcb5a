import pytest
import torch

from tasks import method_params
from tasks.lm.adapters import adapter_of, attach, description_of, plain
from tasks.lm.batches import collate, encode
from tasks.lm.causal import limit_of, load, save, untie
from tasks.lm.head import features, refit_head
from tasks.lm.logits import answer_logits, head_of, hidden_states
from tasks.lm.methods.bottleneck import Bottleneck
from tasks.lm.methods.k_adapter import KAdapter
from tasks.lm.methods.lora import LoRA
from tasks.lm.methods.o_lora import OLoRA
from tasks.lm.methods.prompts import PrefixTuning, PromptTuning
from tasks.params import Stage2
from tasks.scoring.answers import exact_matches, perplexity
from tests.lm.methods.a_slice import IDS, changed, contents, logits, start, train_slice, weights

DESCRIPTIONS = [
    {"kind": "prompt_tuning", "virtual_tokens": 4},
    {"kind": "prefix_tuning", "virtual_tokens": 4},
    {"kind": "bottleneck", "width": 4},
    {"kind": "k_adapter", "width": 4, "layers": [1], "slices": 2},
]
EACH = pytest.mark.parametrize("description", DESCRIPTIONS, ids=lambda each: each["kind"])
STAGE2 = Stage2(epochs=2, batch_positions=64, learning_rate=1e-2)


def attached(model, description):
    """With weights that matter: those that begin as zero are drawn, too."""
    model = attach(model, description, seed=1)
    with torch.no_grad():
        for value in adapter_of(model).parameters():
            value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel())) / 4)
    return model


@EACH
def test_what_is_attached_is_saved_with_the_model_and_attached_again(tiny, tmp_path, description):
    model, tokenizer = tiny
    without = logits(model)
    model = attached(model, description)
    said = logits(model)
    save(model, tokenizer, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("adapter*")) == ["adapter.json", "adapter.safetensors"]
    loaded, _ = load(tmp_path)
    assert description_of(loaded) == description
    assert torch.equal(logits(loaded), said)
    assert (said - without).abs().max() > 0.01
    assert all(value.requires_grad for value in loaded.parameters())


@EACH
def test_the_weights_of_the_model_itself_are_saved_without_it(tiny, tmp_path, description):
    """Another program can load the folder as a model of its architecture, without what is attached."""
    model, tokenizer = tiny
    without = logits(model)
    save(attached(model, description), tokenizer, tmp_path)
    again, report = type(plain(model)).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert torch.equal(logits(again), without)


def test_a_model_without_anything_attached_has_no_such_files(tiny, tmp_path):
    save(*tiny, tmp_path)
    assert not list(tmp_path.glob("adapter*"))
    assert description_of(load(tmp_path)[0]) is None


@EACH
def test_attaching_leaves_the_random_state_alone(tiny, description):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    attach(tiny[0], description, seed=1)
    assert torch.equal(torch.rand(3), expected)


@EACH
def test_stage_two_refits_the_head_on_what_the_adapted_model_sees(tiny, rows, tmp_path, description):
    model, tokenizer = tiny
    save(attached(model, description), tokenizer, tmp_path / "one")
    model, tokenizer = load(tmp_path / "one")
    untie(model)
    sequences = encode(rows, tokenizer, limit_of(model))
    hidden, labels = features(model, sequences)
    batch = collate(sequences, model.device)
    assert sorted(labels.tolist()) == sorted(batch.labels.tolist())
    first = torch.nn.functional.cross_entropy(head_of(model)(hidden), labels)
    torch.testing.assert_close(first, torch.nn.functional.cross_entropy(answer_logits(model, batch), batch.labels))
    history = refit_head(model, hidden, labels, STAGE2, seed=0, log=lambda *_: None)
    assert history[-1]["loss"] < float(first.detach())
    save(model, tokenizer, tmp_path / "two")
    moved = changed(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert {name.removeprefix("base_model.") for name in moved} == {"lm_head.weight"}
    torch.testing.assert_close(logits(load(tmp_path / "two")[0]), head_of(model)(hidden_states(model, IDS)).detach())


@EACH
def test_scores_are_those_of_the_adapted_model(tiny, rows, description):
    model, tokenizer = tiny
    without = perplexity(model, tokenizer, rows, 256)
    model = attached(model, description)
    batch = collate(encode(rows, tokenizer, limit_of(model)), model.device)
    shifted = model(input_ids=batch.ids).logits[:, -batch.ids.shape[1] :][batch.predicts]
    expected = float(torch.nn.functional.cross_entropy(shifted, batch.labels).exp().detach())
    assert perplexity(model, tokenizer, rows, 256) == pytest.approx(expected, rel=1e-4)
    assert expected != pytest.approx(without, rel=1e-3)
    assert len(exact_matches(model, tokenizer, rows, 256)) == len(rows)


@pytest.mark.parametrize("kind", [LoRA, OLoRA, PromptTuning, PrefixTuning, Bottleneck, KAdapter])
def test_a_killed_slice_ends_with_the_same_bytes(tiny, rows, tmp_path, kind):
    name = {OLoRA: "o_lora", PromptTuning: "prompt_tuning", PrefixTuning: "prefix_tuning", KAdapter: "k_adapter"}
    settings = getattr(method_params, kind.__name__)(name=name.get(kind, kind.__name__.lower()))
    train_slice(kind(settings, 0), rows[:6], start(tiny, tmp_path / "base"), tmp_path / "one")
    train_slice(kind(settings, 0), rows[6:], tmp_path / "one", tmp_path / "whole")

    def die(step, values):
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_slice(kind(settings, 0), rows[6:], tmp_path / "one", tmp_path / "killed", log=die)
    assert list((tmp_path / "killed-scratch").glob("step-*"))
    torch.manual_seed(99)  # another process has another random state
    train_slice(kind(settings, 0), rows[6:], tmp_path / "one", tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
