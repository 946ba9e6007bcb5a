"""Our logits are the model's own, whatever stands between its head and them, tied or not, before and after a refit."""

import pytest
import torch
from torch import nn

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


def by_features(sequences):
    return sorted(sequences, key=lambda each: len(each.ids))
