import math
from collections import Counter

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from tasks.lm.batches import Mixture, Part, collate, encode
from tasks.lm.causal import untie
from tasks.lm.methods import build_methods
from tasks.lm.methods.ewc import EWC, fisher_diagonal
from tasks.lm.methods.joint import Joint
from tasks.lm.methods.method import Method, Share
from tasks.lm.methods.replay import Replay
from tasks.lm.methods.seen import Seen
from tasks.method_params import EWC as EWCSettings
from tasks.method_params import Joint as JointSettings
from tasks.method_params import Replay as ReplaySettings


def answer_log_probability(model, sequence):
    """log p(y|x), token by token, from whole forward passes."""
    total = 0.0
    for place in range(sequence.start, len(sequence.ids)):
        logits = model(torch.tensor([sequence.ids[:place]])).logits[0, -1]
        total = total + logits.log_softmax(-1)[sequence.ids[place]]
    return total


def test_the_fisher_is_the_mean_of_squared_gradients_of_each_example(tiny, rows):
    model, tokenizer = tiny
    sequences = encode(rows[:4], tokenizer, 64)
    fisher = fisher_diagonal(model, sequences)
    expected = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    for sequence in sequences:
        gradients = torch.autograd.grad(answer_log_probability(model, sequence), list(model.parameters()))
        for (name, _), gradient in zip(model.named_parameters(), gradients, strict=True):
            expected[name] += gradient**2 / len(sequences)
    for name, value in fisher.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-7)


def test_the_fisher_of_two_examples_is_not_that_of_their_mean_gradient(tiny, rows):
    model, tokenizer = tiny
    sequences = encode(rows[:2], tokenizer, 64)
    separate = fisher_diagonal(model, sequences)["lm_head.weight"]
    mean = sum(answer_log_probability(model, sequence) for sequence in sequences) / 2
    gradient = torch.autograd.grad(mean, model.lm_head.weight)[0]
    assert (separate >= gradient**2 - 1e-9).all()  # Jensen
    assert separate.sum() > 1.05 * (gradient**2).sum()


def ewc(folder, model, tokenizer, slices=1, **settings):
    """EWC as it begins after so many slices, the last of which left its files in `folder`."""
    method = EWC(EWCSettings(name="ewc", **{"strength": 10.0, "samples": 6} | settings), seed=0)
    method.seen = Seen(slices=slices)
    method.begin(model, tokenizer, folder)
    return method


def ewc_after_one_slice(model, tokenizer, rows, folder, **settings):
    data = Mixture([Part(encode(rows, tokenizer, 64), 1.0)], 96, 2, 0, model.device)
    method = ewc(folder, model, tokenizer, slices=0, **settings)
    method.end(model, data, folder / "method")
    return method, data


def move(model, by=0.1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(by * torch.randn(value.shape, generator=generator))


def test_the_penalty_is_half_the_strength_times_the_weighted_square_distance(tiny, rows, tmp_path):
    model, tokenizer = tiny
    first, data = ewc_after_one_slice(model, tokenizer, rows, tmp_path)
    assert ewc(tmp_path / "base", model, tokenizer, slices=0).penalty(model, data.batch(0), None) == 0.0
    second = ewc(tmp_path, model, tokenizer)
    assert second.penalty(model, data.batch(0), None) == 0.0
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.5)
    expected = 10.0 / 2 * sum(float((fisher * 0.25).sum()) for fisher in second.fisher.values())
    assert second.penalty(model, data.batch(0), None).item() == pytest.approx(expected, rel=1e-4)


def slice_fisher(model, tokenizer, rows):
    """A slice's Fisher, divided by its mean over all weights, number by number."""
    fisher = fisher_diagonal(model, encode(rows, tokenizer, 64))
    numbers = [number for value in fisher.values() for number in value.flatten().tolist()]
    mean = math.fsum(numbers) / len(numbers)
    return torch.tensor([number / mean for number in numbers])


def flat(weights):
    return torch.cat([value.flatten() for value in weights.values()])


def test_the_running_fisher_is_the_decayed_mean_of_the_slices_normalised_fishers(tiny, rows, tmp_path):
    model, tokenizer = tiny
    slices, previous, single = [rows[:4], rows[4:8], rows[8:]], tmp_path / "base", []
    for number, own in enumerate(slices):
        single.append(slice_fisher(model, tokenizer, own))
        method = ewc(previous, model, tokenizer, slices=number, decay=0.5)
        previous = tmp_path / str(number)
        previous.mkdir()
        method.end(model, Mixture([Part(encode(own, tokenizer, 64), 1.0)], 96, 2, 0, model.device), previous / "method")
        move(model, 0.05, number)
    after = ewc(previous, model, tokenizer, decay=0.5)
    expected = (0.25 * single[0] + 0.5 * single[1] + single[2]) / 1.75
    torch.testing.assert_close(flat(after.fisher), expected, rtol=1e-3, atol=1e-4)


def test_strength_means_the_same_after_two_slices_and_after_forty_and_on_a_steeper_loss(tiny, rows):
    model, tokenizer = tiny
    fisher = fisher_diagonal(model, encode(rows[:2], tokenizer, 64))
    method = EWC(EWCSettings(name="ewc", strength=1.0), seed=0)
    for number in range(40):
        method.add({name: (1 + number) * value for name, value in fisher.items()})
        assert flat(method.fisher).mean().item() == pytest.approx(1.0, rel=1e-4)


def test_the_anchor_is_where_the_fisher_was_taken_though_stage_2_has_refitted_the_head(tiny, rows, tmp_path):
    model, tokenizer = tiny
    ewc_after_one_slice(model, tokenizer, rows, tmp_path)
    stage1 = {name: value.detach().clone() for name, value in model.named_parameters()}
    with torch.no_grad():
        model.lm_head.weight.add_(0.3)
    second = ewc(tmp_path, model, tokenizer)
    assert all(torch.equal(second.anchor[name], value) for name, value in stage1.items())
    expected = 10.0 / 2 * float((second.fisher["lm_head.weight"] * 0.09).sum())
    assert second.penalty(model, None, None).item() == pytest.approx(expected, rel=1e-4)


def test_a_head_that_stage_2_has_untied_is_held_by_what_was_measured_of_the_tied_weight(rows, tiny, tmp_path):
    torch.manual_seed(0)
    model, tokenizer = (
        GPT2LMHeadModel(GPT2Config(vocab_size=320, n_positions=64, n_embd=16, n_layer=1, n_head=2)),
        tiny[1],
    )
    ewc_after_one_slice(model, tokenizer, rows, tmp_path)
    tied = ewc(tmp_path, model, tokenizer)
    untie(model)
    with torch.no_grad():
        model.lm_head.weight.add_(0.3)
    second = ewc(tmp_path, model, tokenizer)
    assert torch.equal(second.fisher["lm_head.weight"], tied.fisher["transformer.wte.weight"])
    assert torch.equal(second.anchor["lm_head.weight"], model.transformer.wte.weight)
    (tmp_path / "two").mkdir()
    ewc_after_one_slice(model, tokenizer, rows, tmp_path / "two")
    assert "lm_head.weight" in ewc(tmp_path / "two", model, tokenizer).fisher


def test_without_a_fisher_every_weight_of_a_model_that_knows_something_counts_the_same(tiny, rows, tmp_path):
    model, tokenizer = tiny
    method = ewc(tmp_path / "elsewhere", model, tokenizer, slices=1, decay=0.5)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    move(model)
    distance = sum(float((value.detach() - before[name]).square().sum()) for name, value in model.named_parameters())
    assert method.penalty(model, None, None).item() == pytest.approx(10.0 / 2 * distance, rel=1e-4)
    single = slice_fisher(model, tokenizer, rows[:4])
    method.end(
        model, Mixture([Part(encode(rows[:4], tokenizer, 64), 1.0)], 96, 2, 0, model.device), tmp_path / "method"
    )
    after = ewc(tmp_path, model, tokenizer)
    torch.testing.assert_close(flat(after.fisher), (0.5 + single) / 1.5, rtol=1e-3, atol=1e-4)


def test_a_slice_without_rows_of_its_own_leaves_the_fisher_as_it_was(tiny, rows, tmp_path):
    model, tokenizer = tiny
    ewc_after_one_slice(model, tokenizer, rows, tmp_path)
    method = ewc(tmp_path, model, tokenizer)
    (tmp_path / "two").mkdir()
    method.end(model, Mixture([Part([], 1.0)], 96, 2, 0, model.device), tmp_path / "two" / "method")
    one, two = (load_file(folder / "method" / "fisher.safetensors") for folder in (tmp_path, tmp_path / "two"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())


FRESH = [{"prompt": "new", "target": str(number), "fact": None} for number in range(40)]
OLD = [{"prompt": "old", "target": str(number), "fact": None} for number in range(40)]


def test_replay_draws_its_share_of_every_batch_evenly_from_all_older_rows(tiny):
    model, tokenizer = tiny
    shares = Replay(ReplaySettings(name="replay", share=0.4), seed=0).examples([Share(FRESH, 1.0)], OLD)
    assert [each.share for each in shares] == [pytest.approx(0.6), 0.4]
    parts = [Part(encode(each.rows, tokenizer, 64), each.share) for each in shares]
    data = Mixture(parts, 200, 200, 0, model.device)
    old = Counter(index for batch in data.plans[1] for index in batch)
    drawn = sum(old.values())
    tokens = [
        sum(len(part.sequences[i].ids) for step in plan for i in step)
        for part, plan in zip(parts, data.plans.values(), strict=True)
    ]
    assert tokens[1] / sum(tokens) == pytest.approx(0.4, abs=0.05)
    assert set(old) == set(range(40))
    assert max(old.values()) - min(old.values()) <= 1 + drawn // 400


def test_the_oldest_slice_has_nothing_to_replay():
    assert Replay(ReplaySettings(name="replay", share=0.4), seed=0).examples([Share(FRESH, 1.0)], []) == [
        Share(FRESH, 1.0)
    ]


def test_joint_training_draws_every_row_about_as_often_as_any_other(tiny):
    model, tokenizer = tiny
    shares = Joint(JointSettings(name="joint"), seed=0).examples([Share(FRESH[:10], 1.0)], OLD)
    assert [each.share for each in shares] == pytest.approx([0.2, 0.8])
    data = Mixture([Part(encode(each.rows, tokenizer, 64), each.share) for each in shares], 1500, 50, 0, model.device)
    often = [sum(len(batch) for batch in data.plans[part]) / len(data.parts[part].sequences) for part in (0, 1)]
    assert often[0] == pytest.approx(often[1], rel=0.15)


def test_a_method_that_does_nothing_is_naive_fine_tuning(tiny, tmp_path):
    model, tokenizer = tiny
    method = Method()
    assert method.begin(model, tokenizer, tmp_path) is model
    assert method.examples([Share(FRESH, 1.0)], OLD) == [Share(FRESH, 1.0)]
    assert method.penalty(model, None, None) == 0.0
    assert method.before_update(model, 3, 0.5) == 0.5


def test_methods_compose_in_the_order_of_the_list(tmp_path):
    settings = (ReplaySettings(name="replay", share=0.2), EWCSettings(name="ewc", strength=1.0))
    assert [type(method) for method in build_methods(settings, 0, 7, tmp_path)] == [Replay, EWC]
    assert [method.steps for method in build_methods(settings, 0, 7, tmp_path)] == [7, 7]


def test_the_penalty_keeps_what_matters_to_the_old_slice(tiny, rows, tmp_path):
    """A weight with a large Fisher moves less than it does without the penalty."""
    model, tokenizer = tiny
    _, data = ewc_after_one_slice(model, tokenizer, rows, tmp_path)
    method = ewc(tmp_path, model, tokenizer, strength=1.0)
    batch = collate(encode([{"prompt": "Who leads Peru?", "target": "Zoe"}], tokenizer, 64), model.device)
    distance = []
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    for penalty in (lambda *_: 0.0, method.penalty):
        with torch.no_grad():
            for name, value in model.named_parameters():
                value.copy_(start[name])
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        for _ in range(20):
            logits = model.lm_head(model.base_model(batch.ids).last_hidden_state[batch.predicts])
            (nn.functional.cross_entropy(logits, batch.labels) + penalty(model, batch, logits)).backward()
            optimizer.step()
            optimizer.zero_grad()
        moved = {name: (value.detach() - start[name]) ** 2 for name, value in model.named_parameters()}
        distance.append(sum(float((method.fisher[name] * moved[name]).sum()) for name in moved))
    assert distance[1] < distance[0]
