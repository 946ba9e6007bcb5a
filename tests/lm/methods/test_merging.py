import json
import math

import pytest
import torch
from pydantic import ValidationError

from tasks.lm.batches import collate, encode
from tasks.lm.logits import answer_logits
from tasks.lm.methods.merging import MOST_ROWS, Merging, log_likelihood
from tasks.lm.methods.method import Share
from tasks.lm.methods.seen import Seen
from tasks.method_params import Merging as MergingSettings


def settings(how="linear", **others):
    return MergingSettings(name="merging", how=how, **{"held_out": 0.5, "coefficients": (0.5,)} | others)


def weights(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def learn(model, by, seed):
    """Stand in for a slice's training; returns the task vectors, as the weights' type can hold them."""
    before = weights(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(by * torch.randn(value.shape, generator=generator).to(value.dtype))
    return {name: value.detach().float() - before[name].float() for name, value in model.named_parameters()}


def first_slice(model, tokenizer, rows, folder, chosen):
    method = Merging(chosen, seed=0)
    method.begin(model, tokenizer, folder / "base")
    assert method.examples([Share(rows, 1.0)], []) == [Share(rows, 1.0)]
    (folder / "1").mkdir()
    method.end(model, None, folder / "1" / "method")
    return folder / "1"


def next_slice(model, tokenizer, rows, previous, chosen, by=0.02, seed=0, drop=0):
    """Begin, learn, end; return the weights before and the task vectors."""
    method = Merging(chosen, seed=drop)
    method.seen = Seen(slices=1)
    method.begin(model, tokenizer, previous)
    method.examples([Share(rows[:6], 0.6), Share(rows[6:], 0.4)], [])
    before = weights(model)
    vectors = learn(model, by, seed)
    out = previous.parent / str(int(previous.name) + 1)
    out.mkdir()
    assert method.end(model, None, out / "method") is model
    return before, vectors, out


def trimmed(vector, density):
    """All but the largest values set to nought, by sorting them."""
    values = vector.flatten().tolist()
    order = sorted(range(len(values)), key=lambda index: -abs(values[index]))
    kept = set(order[: int(density * len(values))])
    return torch.tensor([value if index in kept else 0.0 for index, value in enumerate(values)]).reshape(vector.shape)


def elected(one, two):
    """TIES' last two steps for two vectors, value by value: the sign of the sum; the mean of those that have it."""
    merged = []
    for pair in zip(one.flatten().tolist(), two.flatten().tolist(), strict=True):
        sign = 1 if sum(pair) >= 0 else -1
        agreeing = [value for value in pair if value * sign > 0]
        merged.append(sum(agreeing) / len(agreeing) if agreeing else 0.0)
    return torch.tensor(merged).reshape(one.shape)


@pytest.mark.parametrize("how", ["linear", "task_vectors"])
@pytest.mark.parametrize("coefficient", [0.25, 1.0])
def test_of_a_pair_it_keeps_a_share_of_the_way(tiny, rows, tmp_path, how, coefficient):
    model, tokenizer = tiny
    chosen = settings(how, coefficients=(coefficient,))
    one = first_slice(model, tokenizer, rows, tmp_path, chosen)
    before, vectors, out = next_slice(model, tokenizer, rows, one, chosen)
    for name, value in weights(model).items():
        new = before[name] + vectors[name]
        torch.testing.assert_close(value, (1 - coefficient) * before[name] + coefficient * new)
    assert json.loads((out / "method" / "merging.json").read_text())["coefficient"] == coefficient


def test_ties_keeps_the_largest_values_of_every_tensor(tiny, rows, tmp_path):
    model, tokenizer = tiny
    chosen = settings("ties", density=0.2)
    one = first_slice(model, tokenizer, rows, tmp_path, chosen)
    before, vectors, _ = next_slice(model, tokenizer, rows, one, chosen)
    for name, value in weights(model).items():
        torch.testing.assert_close(value, before[name] + 0.5 * trimmed(vectors[name], 0.2))


def test_dare_drops_by_the_seed_and_rescales_what_is_left(tiny, rows, tmp_path):
    model, tokenizer = tiny
    chosen = settings("dare", density=0.3, coefficients=(1.0,))
    one = first_slice(model, tokenizer, rows, tmp_path, chosen)
    start = weights(model)

    def merged(drop, drawn):
        with torch.no_grad():
            for name, value in model.named_parameters():
                value.copy_(start[name])
        torch.manual_seed(drawn)  # what was drawn before must not matter
        before, vectors, out = next_slice(model, tokenizer, rows, one, chosen, drop=drop)
        (out / "method" / "merging.json").unlink()
        (out / "method").rmdir()
        out.rmdir()
        return before, vectors, weights(model)

    before, vectors, found = merged(drop=0, drawn=1)
    left = total = 0
    for name, value in found.items():
        moved = value - before[name]
        kept = moved.abs() > 1e-7
        torch.testing.assert_close(moved[kept], vectors[name][kept] / 0.3, rtol=1e-3, atol=1e-6)
        left, total = left + int(kept.sum()), total + kept.numel()
    assert left / total == pytest.approx(0.3, abs=0.02)
    again, other = merged(drop=0, drawn=2)[2], merged(drop=1, drawn=2)[2]
    assert all(torch.equal(again[name], found[name]) for name in found)
    assert not torch.equal(other["lm_head.weight"], found["lm_head.weight"])


def test_dropping_leaves_the_random_state_as_it_was(tiny, rows, tmp_path):
    model, tokenizer = tiny
    chosen = settings("dare")
    one = first_slice(model, tokenizer, rows, tmp_path, chosen)
    state = torch.get_rng_state()
    next_slice(model, tokenizer, rows, one, chosen)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("how", ["task_vectors", "ties", "dare"])
def test_with_earlier_ones_all_is_added_to_the_model_of_the_first_slice(tiny, rows, tmp_path, how):
    model, tokenizer = tiny
    chosen = settings(how, earlier=True, density=0.9999999 if how == "dare" else 0.4, coefficients=(0.8,))
    one = first_slice(model, tokenizer, rows, tmp_path, chosen)
    origin = weights(model)
    _, first, two = next_slice(model, tokenizer, rows, one, chosen, seed=1)
    changed = {name: value - origin[name] for name, value in weights(model).items()}
    _, second, three = next_slice(model, tokenizer, rows, two, chosen, by=0.01, seed=2)
    for name, value in weights(model).items():
        if how == "ties":
            torch.testing.assert_close(changed[name], 0.8 * trimmed(first[name], 0.4), rtol=1e-4, atol=1e-6)
            merged = elected(trimmed(changed[name], 0.4), trimmed(second[name], 0.4))
        else:
            merged = changed[name] + second[name]
        torch.testing.assert_close(value, origin[name] + 0.8 * merged, rtol=1e-4, atol=1e-6)
    before_third = weights(model)
    _, third, _ = next_slice(model, tokenizer, rows, three, chosen, seed=3)
    if how == "task_vectors":
        for name, value in weights(model).items():
            expected = origin[name] + 0.8 * (before_third[name] - origin[name] + third[name])
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)


def test_when_signs_differ_the_stronger_wins_and_when_they_agree_the_mean_is_taken():
    assert elected(torch.tensor([3.0, -1.0, 2.0, 0.0]), torch.tensor([-1.0, -3.0, 0.0, 0.0])).tolist() == [3, -2, 2, 0]


def brute_log_likelihood(model, tokenizer, rows):
    found = []
    for sequence in encode(rows, tokenizer, 64):
        for place in range(sequence.start, len(sequence.ids)):
            logits = model(torch.tensor([sequence.ids[:place]])).logits[0, -1]
            found.append(float(logits.double().log_softmax(-1)[sequence.ids[place]]))
    return math.fsum(found) / len(found)


@torch.no_grad()
def test_the_score_is_the_mean_log_probability_of_an_answer_token(tiny, rows):
    model, tokenizer = tiny
    expected = brute_log_likelihood(model, tokenizer, rows)
    assert log_likelihood(model, encode(rows, tokenizer, 64)) == pytest.approx(expected, rel=1e-5)


def fit(model, tokenizer, rows, steps):
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    batch = collate(encode(rows, tokenizer, 64), model.device)
    for _ in range(steps):
        torch.nn.functional.cross_entropy(answer_logits(model, batch), batch.labels).backward()
        optimizer.step()
        optimizer.zero_grad()


def test_it_takes_the_coefficient_that_is_best_for_old_and_new_rows_together(tiny, rows, tmp_path):
    model, tokenizer = tiny
    fresh, old = [{**row, "target": "Ada."} for row in rows[:6]], [{**row, "target": "Zoe."} for row in rows[6:]]
    chosen = settings(coefficients=(0.1, 0.4, 0.7, 1.0))
    one = first_slice(model, tokenizer, rows, tmp_path, chosen)
    fit(model, tokenizer, old, steps=25)
    method = Merging(chosen, seed=0)
    method.seen = Seen(slices=1)
    method.begin(model, tokenizer, one)
    shares = method.examples([Share(fresh, 0.6), Share(old, 0.4)], [])
    before = weights(model)
    fit(model, tokenizer, shares[0].rows, steps=4)
    after = weights(model)
    (tmp_path / "2").mkdir()
    method.end(model, None, tmp_path / "2" / "method")

    written = json.loads((tmp_path / "2" / "method" / "merging.json").read_text())
    held = [[row for row in all_ if row not in each.rows] for all_, each in zip((fresh, old), shares, strict=True)]
    assert [len(each) for each in held] == [3, 3]
    scores = {}
    kept = weights(model)
    for row in written["scores"]:
        coefficient = row["coefficient"]
        with torch.no_grad():
            for name, value in model.named_parameters():
                value.copy_((1 - coefficient) * before[name] + coefficient * after[name])
            shares_scores = [brute_log_likelihood(model, tokenizer, each) for each in held]
        scores[coefficient] = sum(shares_scores) / 2
        assert row["shares"] == pytest.approx(shares_scores, rel=1e-4)
        assert row["mean"] == pytest.approx(scores[coefficient], rel=1e-4)
    best = max(scores, key=scores.get)
    assert list(scores) == [0.1, 0.4, 0.7, 1.0]
    assert written["coefficient"] == best
    assert best not in (0.1, 1.0)  # neither the old nor the new model alone is best for both
    for name, value in kept.items():
        torch.testing.assert_close(value, (1 - best) * before[name] + best * after[name])


def test_the_larger_of_two_equal_coefficients_is_taken(tiny, rows, tmp_path):
    model, tokenizer = tiny
    chosen = settings(coefficients=(0.9, 0.2, 0.5))
    one = first_slice(model, tokenizer, rows, tmp_path, chosen)
    _, _, out = next_slice(model, tokenizer, rows, one, chosen, by=0.0)
    assert json.loads((out / "method" / "merging.json").read_text())["coefficient"] == 0.9


def begun(model, tokenizer, rows, folder, seed=0, **others):
    chosen = settings(**others)
    previous = folder / "1" if (folder / "1").exists() else first_slice(model, tokenizer, rows, folder, chosen)
    method = Merging(chosen, seed)
    method.seen = Seen(slices=1)
    method.begin(model, tokenizer, previous)
    return method


def numbered(count, name):
    return [{"id": f"{name}/{index}", "prompt": name, "target": str(index), "fact": None} for index in range(count)]


def test_it_holds_out_rows_of_every_share_by_the_seed(tiny, rows, tmp_path):
    model, tokenizer = tiny
    shares = [Share(numbered(40, "new"), 0.6), Share(numbered(60, "old"), 0.4, 0.9), Share([], 0.1)]
    left = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        method = begun(model, tokenizer, rows, tmp_path, seed, held_out=0.1)
        left[name] = method.examples(shares, [])
        assert [len(each) for each in method.held_out] == [4, 6]
        for whole, each, held in zip(shares, left[name], method.held_out, strict=False):
            assert sorted(each.rows + held, key=whole.rows.index) == whole.rows
            assert (each.share, each.decay) == (whole.share, whole.decay)
    assert left["a"] == left["b"] != left["c"]
    again = list(method.held_out)
    method.examples(shares, [])  # as a resumed run does
    assert method.held_out == again


def test_a_long_history_is_not_scored_in_whole(tiny, rows, tmp_path):
    model, tokenizer = tiny
    method = begun(model, tokenizer, rows, tmp_path, held_out=0.1)
    left = method.examples([Share(numbered(40, "new"), 0.6), Share(numbered(10_000, "old"), 0.4)], [])
    assert [len(each) for each in method.held_out] == [4, MOST_ROWS]
    assert len(left[1].rows) == 10_000 - MOST_ROWS


def test_of_few_rows_one_is_held_out(tiny, rows, tmp_path):
    model, tokenizer = tiny
    method = begun(model, tokenizer, rows, tmp_path, held_out=0.05)
    left = method.examples([Share(numbered(9, "new"), 0.5), Share(numbered(2, "old"), 0.5)], [])
    assert [len(each) for each in method.held_out] == [1, 1]
    assert [len(each.rows) for each in left] == [8, 1]


@pytest.mark.parametrize("older", [[], [Share([], 0.3)], [Share(numbered(1, "old"), 0.3)]])
def test_with_nothing_older_to_choose_by_the_coefficient_is_a_setting(tiny, rows, tmp_path, older):
    """The slice's own held-out rows would always choose 1.0, which is naive fine-tuning."""
    model, tokenizer = tiny
    method = begun(model, tokenizer, rows, tmp_path, coefficients=(0.25, 0.5, 1.0), alone=0.3)
    shares = [Share(rows, 0.7), *older]
    assert method.examples(shares, []) == shares  # nothing is held out
    before = weights(model)
    fit(model, tokenizer, rows, steps=2)
    after = weights(model)
    (tmp_path / "2").mkdir()
    method.end(model, None, tmp_path / "2" / "method")
    for name, value in weights(model).items():
        torch.testing.assert_close(value, 0.7 * before[name] + 0.3 * after[name])
    assert json.loads((tmp_path / "2" / "method" / "merging.json").read_text()) == {"coefficient": 0.3, "scores": []}


@pytest.mark.parametrize("how", ["linear", "ties"])
def test_bfloat16_weights_are_merged_in_float32_and_keep_their_type(tiny, rows, tmp_path, how):
    model, tokenizer = tiny
    model.bfloat16()
    chosen = settings(how, density=0.2, coefficients=(0.5,))
    one = first_slice(model, tokenizer, rows, tmp_path, chosen)
    before, vectors, _ = next_slice(model, tokenizer, rows, one, chosen)
    for name, value in weights(model).items():
        assert value.dtype == torch.bfloat16
        half = (before[name].float() + 0.5 * vectors[name]).bfloat16()
        least = trimmed(vectors[name], 0.2).abs()
        kept = vectors[name].abs() > (least[least > 0].min() if how == "ties" else -1)  # some may be equally small
        assert torch.equal(value[kept], half[kept])
        assert ((value == half) | (value == before[name])).all()


def test_a_line_through_more_than_two_models_is_refused():
    with pytest.raises(ValidationError, match="task_vectors"):
        settings("linear", earlier=True)
