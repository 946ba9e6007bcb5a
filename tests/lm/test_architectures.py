"""Our logits are the model's own, whatever stands between its head and them, tied or not, before and after a refit."""

from concurrent.futures import ThreadPoolExecutor
from time import sleep

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from tasks.lm.batches import Mixture, Part, collate, encode
from tasks.lm.causal import limit_of, load, save, untie
from tasks.lm.head import features, refit_head
from tasks.lm.logits import answer_logits, logits_of
from tasks.lm.training import Schedule, train
from tasks.params import Stage2
from tests.lm.architectures import CONFIGS, folder_of
from tests.lm.conftest import ROWS, STATEMENTS


def quiet(step, values):
    pass


def own_logits(model, sequence):
    """By the model's own forward pass over one sequence, without padding: [predicted tokens, vocabulary]."""
    return model(input_ids=torch.tensor([sequence.ids])).logits[0, sequence.start - 1 : -1].float()


@pytest.mark.parametrize(
    ("kind", "tied"),
    [*((kind, True) for kind in CONFIGS), *((kind, False) for kind in ("gpt2", "gemma2", "cohere", "opt"))],
)
def test_the_loss_is_the_models_own_and_so_it_is_after_training_and_the_heads_refit(kind, tied, tmp_path):
    original = folder_of(kind, tmp_path / "source", tied)
    model, words = load(tmp_path / "source")
    sequences = encode([ROWS[0], STATEMENTS[1]], words, limit_of(model))
    batch = collate(sequences, model.device)
    with torch.no_grad():
        expected = torch.cat([own_logits(original, each) for each in sequences])
        torch.testing.assert_close(answer_logits(model, batch), expected, rtol=1e-4, atol=1e-4)
    loss = nn.functional.cross_entropy(expected, batch.labels)

    data = Mixture([Part(sequences, 1.0)], 96, 2, 0, model.device)
    history = train(model, data, Schedule(2, 1e-3, 0.5), scratch=tmp_path / "scratch", log=quiet, seed=0)
    assert history[0]["loss"] == pytest.approx(loss.item(), rel=1e-4)

    untie(model)
    hidden, labels = features(model, sequences)
    with torch.no_grad():
        own = torch.cat([own_logits(model, each) for each in by_features(sequences)])
        torch.testing.assert_close(logits_of(model, hidden), own, rtol=1e-4, atol=1e-4)
    settings = Stage2(epochs=2, batch_positions=64, learning_rate=1e-2)
    refit = refit_head(model, hidden, labels, settings, 0, quiet)
    assert refit[0]["loss"] == pytest.approx(nn.functional.cross_entropy(own, labels).item(), rel=1e-3)

    save(model, words, tmp_path / "out")
    again, _ = load(tmp_path / "out")
    with torch.no_grad():
        torch.testing.assert_close(answer_logits(again, batch), answer_logits(model, batch), rtol=1e-4, atol=1e-4)


def test_models_are_read_one_at_a_time_so_that_no_later_one_loses_its_tie(tmp_path, monkeypatch):
    """transformers takes PreTrainedModel.tie_weights away while it reads: two threads at once would leave it away."""
    folder_of("gpt2", tmp_path, True)
    read, reading, most = AutoModelForCausalLM.from_pretrained, [], []

    def watched(*args, **settings):
        reading.append(1)
        most.append(len(reading))
        sleep(0.2)
        try:
            return read(*args, **settings)
        finally:
            reading.pop()

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", watched)
    with ThreadPoolExecutor(3) as pool:
        models = [model for model, _ in pool.map(load, [tmp_path] * 3)]
    assert most == [1, 1, 1]
    assert all(model.lm_head.weight is model.transformer.wte.weight for model in models)


def by_features(sequences):
    return sorted(sequences, key=lambda each: len(each.ids))
