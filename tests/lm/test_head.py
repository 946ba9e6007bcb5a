from collections import Counter

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from tasks.lm.batches import collate, encode
from tasks.lm.causal import untie
from tasks.lm.head import features, refit_head, rows_for_the_head
from tasks.lm.logits import head_of, hidden_states
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


def test_an_anchor_holds_the_head_where_it_was(tiny, rows):
    model, tokenizer = tiny
    hidden, labels = features(model, encode(rows, tokenizer, 64))
    before = head_of(model).weight.detach().clone()
    moved = []
    for anchor in (0.0, 0.1, 1e4):
        head_of(model).weight.data.copy_(before)
        refit_head(model, hidden, labels, SETTINGS.model_copy(update={"anchor": anchor}), 0, quiet)
        moved.append(float((head_of(model).weight.detach() - before).norm()))
    assert moved[0] > moved[1] > moved[2] > 0


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


FRESH = [{"id": f"new/{number}"} for number in range(60)]
OLDER = [{"id": f"{name}/{number}"} for name in ("one", "two") for number in range(500)]


def slices_seen(which, share=0.4, older=OLDER):
    return Counter(row["id"].split("/")[0] for row in rows_for_the_head(which, FRESH, older, share, seed=0))


def test_the_head_sees_what_stage1_saw_in_its_proportion():
    seen = slices_seen("same")
    assert seen["new"] == 60
    assert seen["one"] + seen["two"] == 40
    assert min(seen["one"], seen["two"]) > 5  # both of them


def test_the_head_sees_as_many_rows_of_every_slice():
    assert slices_seen("balanced") == {"new": 60, "one": 60, "two": 60}


def test_the_head_sees_only_new_or_only_old_rows():
    assert slices_seen("fresh") == {"new": 60}
    assert slices_seen("older")["new"] == 0
    assert slices_seen("older", older=[]) == {"new": 60}  # the first slice has nothing else


def test_without_new_rows_the_head_sees_what_was_replayed_or_nothing():
    assert {which: len(rows_for_the_head(which, [], OLDER, 1.0, 0)) for which in ("same", "older", "balanced")} == (
        dict.fromkeys(("same", "older", "balanced"), len(OLDER))
    )
    assert rows_for_the_head("fresh", [], OLDER, 1.0, 0) == []
    assert all(rows_for_the_head(which, [], [], 0.0, 0) == [] for which in ("same", "fresh", "older", "balanced"))
