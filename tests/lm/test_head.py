import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from tasks.lm.batches import Part, Sequence, collate, encode
from tasks.lm.causal import head_of, hidden_states, untie
from tasks.lm.head import balanced_sample, features, refit_head
from tasks.params import Stage2

SETTINGS = Stage2(epochs=3, batch_positions=16, learning_rate=1e-2)


def quiet(step, values):
    pass


def test_features_are_the_hidden_states_before_each_answer_token(tiny, rows):
    model, tokenizer = tiny
    sequences = encode(rows, tokenizer, 64)
    hidden, labels = features(model, sequences)
    one = collate([min(sequences, key=lambda sequence: len(sequence.ids))], model.device)
    expected = hidden_states(model, one.ids)[one.predicts]
    torch.testing.assert_close(hidden[: len(expected)], expected)
    assert len(hidden) == len(labels) == sum(len(sequence.ids) - sequence.start for sequence in sequences)


def test_stage2_changes_only_the_head_and_lowers_the_loss(tiny, rows):
    model, tokenizer = tiny
    before = {name: value.clone() for name, value in model.state_dict().items()}
    history = refit_head(model, *features(model, encode(rows, tokenizer, 64)), SETTINGS, 0, quiet)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"lm_head.weight"}
    assert history[-1]["loss"] < history[0]["loss"]


def test_a_tied_head_is_untied_so_that_the_embeddings_stay():
    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=16, n_embd=8, n_layer=1, n_head=2))
    assert head_of(model).weight is model.get_input_embeddings().weight
    untie(model)
    embeddings = model.get_input_embeddings().weight.detach().clone()
    ids = torch.tensor([[1, 2, 3]])
    logits = model(ids).logits.detach()
    nn.functional.cross_entropy(head_of(model)(hidden_states(model, ids))[0], ids[0]).backward()
    torch.optim.SGD(head_of(model).parameters(), lr=1.0).step()
    assert torch.equal(model.get_input_embeddings().weight, embeddings)
    assert not torch.equal(model(ids).logits, logits)


def test_the_head_sees_old_and_new_rows_in_the_shares_of_stage1():
    fresh = Part([Sequence([1, number], 1) for number in range(60)], 0.6)
    old = Part([Sequence([2, number], 1) for number in range(500)], 0.4)
    chosen = balanced_sample([fresh, old], seed=0)
    assert sum(sequence.ids[0] == 1 for sequence in chosen) == 60
    assert sum(sequence.ids[0] == 2 for sequence in chosen) == 40
