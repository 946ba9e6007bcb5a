import math

import pytest
import torch
from torch import nn

from tasks.lm.batches import Mixture, Part, collate, encode, rows_of
from tasks.lm.causal import build
from tasks.lm.logits import answer_logits
from tasks.lm.methods.distillation import Distillation, softened_kl
from tasks.lm.methods.seen import Seen
from tasks.lm.training import Schedule, train
from tasks.method_params import Distillation as DistillationSettings
from tests.lm.conftest import SETTINGS

ORIGIN = [(1, 5), (0, 0), (2, 3), (0, 1)]


def begun(model, tokenizer, folder, seen=1, **settings):
    """After so many slices."""
    method = Distillation(DistillationSettings(name="distillation", **settings), seed=0)
    method.seen = Seen(slices=seen)
    assert method.begin(model, tokenizer, folder) is model
    return method


def disturb(model, by=0.05):
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in model.parameters():
            value.add_((by * torch.randn(value.shape, generator=generator)).to(value))


def distributions(model, sequence, temperature):
    """The probabilities at every answer place, each from a whole forward pass over what stands before it."""
    for place in range(sequence.start, len(sequence.ids)):
        logits = model(torch.tensor([sequence.ids[:place]], device=model.device)).logits[0, -1]
        exponents = torch.exp((logits - logits.max()) / temperature)
        yield sequence.ids[place], exponents / exponents.sum()


def kl(given, learnt):
    return sum(p * (torch.log(p) - torch.log(q)) for p, q in zip(given, learnt, strict=True))


def expected_penalty(model, method, sequences, concerned, correct_only=False):
    """The whole batch one place after the other, one word of the vocabulary after the other."""
    temperature, total, places = method.settings.temperature, 0.0, 0
    for number, sequence in enumerate(sequences):
        places += len(sequence.ids) - sequence.start
        if number not in concerned:
            continue
        teacher = distributions(method.teacher, sequence, temperature)
        for (token, given), (_, learnt) in zip(teacher, distributions(model, sequence, temperature), strict=True):
            if not correct_only or int(given.argmax()) == token:
                total = total + kl(given.detach(), learnt)
    return method.settings.weight * temperature**2 * total / places


@pytest.mark.parametrize("on, concerned", [("replayed", {0, 2}), ("fresh", {1, 3}), ("all", {0, 1, 2, 3})])
def test_the_penalty_and_its_gradient_are_those_of_the_kl_word_by_word(tiny, rows, tmp_path, on, concerned):
    model, tokenizer = tiny
    disturb(model, 0.1)  # so that the teacher is no uniform one
    method = begun(model, tokenizer, tmp_path, weight=1.5, temperature=2.0, rows=on)
    disturb(model)
    sequences = encode(rows[4:8], tokenizer, 64)
    batch = collate(sequences, model.device, ORIGIN)
    penalty = method.penalty(model, batch, answer_logits(model, batch))
    expected = expected_penalty(model, method, sequences, concerned)
    assert float(expected.detach()) > 1e-3
    torch.testing.assert_close(penalty, expected, rtol=1e-4, atol=1e-7)
    found = torch.autograd.grad(penalty, list(model.parameters()))
    by_hand = torch.autograd.grad(expected, list(model.parameters()))
    for one, other in zip(found, by_hand, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_the_kl_is_torchs_on_softened_distributions_from_the_teacher_to_the_student():
    teacher, student = torch.randn(2, 7, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    for temperature in (0.5, 1.0, 4.0):
        p, q = (torch.softmax(each / temperature, -1) for each in (teacher, student))
        found = softened_kl(teacher, student, temperature)
        torch.testing.assert_close(found, nn.functional.kl_div(q.log(), p, reduction="sum"))
        torch.testing.assert_close(found, (p * (p / q).log()).sum())
        assert abs(found - (q * (q / p).log()).sum()) > 0.01 * found  # the other direction is another number


def test_hot_gradients_are_the_difference_of_the_logits_whatever_the_temperature():
    """Hinton et al. 2015, eq. 4: T^2 times the gradient tends to (z - v) / words, for logits of mean zero."""
    teacher, student = torch.randn(2, 1, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    teacher, student = (each - each.mean() for each in (teacher, student))
    student.requires_grad_()
    for temperature in (1e3, 1e4):
        (gradient,) = torch.autograd.grad(temperature**2 * softened_kl(teacher, student, temperature), student)
        torch.testing.assert_close(gradient, (student - teacher).detach() / 30, rtol=0.02, atol=1e-3 / temperature)


def test_with_correct_only_places_count_at_which_the_teacher_is_right(tiny, rows, tmp_path):
    model, tokenizer = tiny
    sequences = encode(rows[:4], tokenizer, 64)
    batch = collate(sequences, model.device, ORIGIN)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(12):  # until it is right at some places
        nn.functional.cross_entropy(answer_logits(model, batch), batch.labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    right = answer_logits(model, batch).argmax(-1)[batch.sources > 0] == batch.labels[batch.sources > 0]
    assert right.any()
    assert not right.all()
    method = begun(model, tokenizer, tmp_path, correct_only=True)
    disturb(model)
    penalty = method.penalty(model, batch, answer_logits(model, batch))
    torch.testing.assert_close(
        penalty, expected_penalty(model, method, sequences, {0, 2}, correct_only=True), rtol=1e-4, atol=1e-7
    )
    every = begun(model, tokenizer, tmp_path)
    every.teacher = method.teacher
    assert every.penalty(model, batch, answer_logits(model, batch)) > penalty


def test_a_teacher_that_is_never_right_adds_nothing_with_correct_only(tiny, rows, tmp_path):
    model, tokenizer = tiny
    method = begun(model, tokenizer, tmp_path, correct_only=True)
    with torch.no_grad():  # it always says the first word of the vocabulary, which no answer has
        method.teacher.lm_head.weight.zero_()
    batch = collate(encode(rows[:4], tokenizer, 64), model.device, ORIGIN)
    assert 0 not in batch.labels
    penalty = method.penalty(model, batch, answer_logits(model, batch))
    assert float(penalty.detach()) == 0
    penalty.backward()
    assert all(value.grad is None or not value.grad.any() for value in model.parameters())


def test_the_teacher_is_another_object_that_stays_as_it_is_while_the_student_learns(tiny, rows, tmp_path):
    model, tokenizer = tiny
    method = begun(model, tokenizer, tmp_path)
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    theirs = {value.untyped_storage().data_ptr() for value in method.teacher.parameters()}
    assert theirs.isdisjoint(value.untyped_storage().data_ptr() for value in model.parameters())
    parts = [Part(encode(rows[:6], tokenizer, 64), 0.5), Part(encode(rows[6:], tokenizer, 64), 0.5)]
    data = Mixture(parts, 128, 5, 0, model.device)
    log = lambda step, values: None  # noqa: E731
    train(model, data, Schedule(5, 1e-2, 0.1), methods=[method], scratch=tmp_path / "s", log=log, seed=0)
    for name, value in method.teacher.named_parameters():
        assert torch.equal(value, start[name])
        assert not value.requires_grad
        assert value.grad is None
    assert not any(torch.equal(value, start[name]) for name, value in model.named_parameters() if value.dim() > 1)


def test_a_student_that_is_still_the_teacher_is_pulled_nowhere(tiny, rows, tmp_path):
    model, tokenizer = tiny
    method = begun(model, tokenizer, tmp_path)
    batch = collate(encode(rows[:4], tokenizer, 64), model.device, ORIGIN)
    penalty = method.penalty(model, batch, answer_logits(model, batch))
    assert float(penalty.detach()) == pytest.approx(0, abs=1e-6)
    penalty.backward()
    assert all(value.grad.abs().max() < 1e-5 for value in model.parameters() if value.grad is not None)


def test_the_teacher_answers_without_dropout_and_draws_no_random_numbers(tiny, rows, tmp_path):
    model, tokenizer = tiny
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    model.train()
    method = begun(model, tokenizer, tmp_path)
    batch = collate(encode(rows[:4], tokenizer, 64), model.device, ORIGIN)
    logits = answer_logits(model, batch)
    random = torch.get_rng_state()
    penalties = [float(method.penalty(model, batch, logits).detach()) for _ in range(2)]
    assert penalties[0] == penalties[1] > 0
    assert torch.equal(torch.get_rng_state(), random)
    assert all(module.training for module in model.modules())


def test_the_teacher_sees_only_the_rows_concerned_and_none_of_their_padding(tiny, rows, tmp_path):
    model, tokenizer = tiny
    method = begun(model, tokenizer, tmp_path)
    long = {**rows[0], "target": "Ada " * 9}
    sequences = encode([rows[0], long, rows[1]], tokenizer, 64)
    batch = collate(sequences, model.device, [(1, 0), (0, 0), (1, 1)])
    seen = []
    method.teacher.base_model.register_forward_pre_hook(
        lambda module, args, inputs: seen.append(inputs["input_ids"]), with_kwargs=True
    )
    method.penalty(model, batch, answer_logits(model, batch))
    (ids,) = seen
    wanted = max(len(sequences[0].ids), len(sequences[2].ids)) - 1  # the last token is predicted, not read
    assert ids.shape == (2, wanted)
    for found, sequence in zip(ids.tolist(), (sequences[0], sequences[2]), strict=True):
        assert found[: len(sequence.ids) - 1] == sequence.ids[:wanted][: len(sequence.ids) - 1]


def test_rows_taken_out_of_a_batch_are_predicted_as_in_it(tiny, rows):
    model, tokenizer = tiny
    batch = collate(encode(rows[3:9], tokenizer, 64), model.device, [(number % 3, number) for number in range(6)])
    part = rows_of(batch, batch.parts == 2)
    where = batch.sources == 2
    assert torch.equal(part.labels, batch.labels[where])
    assert set(part.sources.tolist()) == {2}
    torch.testing.assert_close(answer_logits(model, part), answer_logits(model, batch)[where])


def test_nothing_is_added_on_the_slice_that_starts_from_the_base_nor_without_rows(tiny, rows, tmp_path):
    model, tokenizer = tiny
    first = begun(model, tokenizer, tmp_path, seen=0, rows="all")
    batch = collate(encode(rows[:4], tokenizer, 64), model.device)
    assert first.teacher is None
    assert first.penalty(model, batch, answer_logits(model, batch)) == 0.0
    second = begun(model, tokenizer, tmp_path)
    assert second.teacher is not None
    assert second.penalty(model, batch, answer_logits(model, batch)) == 0.0  # the batch has no replayed rows


def test_the_loss_beside_it_is_minus_log_softmax_of_the_next_token(tiny, rows, tmp_path):
    """Not cross-entropy over probabilities, not of the token that stands at the place itself."""
    model, tokenizer = tiny
    data = Mixture([Part(encode(rows[:6], tokenizer, 64), 1.0)], 1000, 30, 0, model.device)
    quiet = lambda step, values: None  # noqa: E731
    train(model, data, Schedule(30, 1e-2, 0.1), scratch=tmp_path / "first", log=quiet, seed=0)
    terms, over_probabilities, unshifted = [], [], []
    for sequence in data.parts[0].sequences:
        ids = torch.tensor([sequence.ids], device=model.device)
        logits = model(ids).logits[0].detach()
        for place in range(sequence.start, len(sequence.ids)):
            before, here, label = logits[place - 1], logits[place], sequence.ids[place]
            terms.append(float(torch.log(torch.exp(before).sum()) - before[label]))
            over_probabilities.append(float(nn.functional.cross_entropy(before.softmax(-1), ids[0, place])))
            unshifted.append(float(torch.log(torch.exp(here).sum()) - here[label]))
    assert len(data.plans[0][0]) == len(data.parts[0].sequences)  # the batch has every row
    history = train(model, data, Schedule(1, 1e-9, 0.0), scratch=tmp_path / "second", log=quiet, seed=0)
    assert history[0]["loss"] == pytest.approx(math.fsum(terms) / len(terms), rel=1e-4)
    for wrong in (over_probabilities, unshifted):
        assert history[0]["loss"] < 0.9 * math.fsum(wrong) / len(wrong)


def test_bfloat16_weights_are_distilled_in_float32(tiny, rows, tmp_path):
    model, tokenizer = tiny
    model.bfloat16()
    method = begun(model, tokenizer, tmp_path)
    disturb(model)
    batch = collate(encode(rows[:4], tokenizer, 64), model.device, ORIGIN)
    penalty = method.penalty(model, batch, answer_logits(model, batch))
    assert penalty.dtype == torch.float32
    assert penalty > 0
    assert {value.dtype for value in method.teacher.parameters()} == {torch.bfloat16}


def test_a_killed_run_ends_with_the_same_weights(rows, tmp_path):
    def run(scratch, killed_at=None):
        model, tokenizer = build(SETTINGS, [f"{row['prompt']} {row['target']}" for row in rows], seed=1)
        method = begun(model, tokenizer, tmp_path)

        def log(step, values):
            if step == killed_at:
                raise KeyboardInterrupt

        parts = [Part(encode(rows[:4], tokenizer, 64), 0.5), Part(encode(rows[4:], tokenizer, 64), 0.5)]
        data = Mixture(parts, 128, 8, 0, model.device)
        train(model, data, Schedule(8, 1e-2, 0.1, 3), methods=[method], scratch=scratch, log=log, seed=0)
        return torch.cat([value.detach().flatten() for value in model.parameters()])

    whole = run(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", killed_at=5)
    assert torch.equal(run(tmp_path / "b"), whole)


def test_the_student_stays_nearer_to_the_teacher_than_without(rows, tmp_path):
    distances = []
    for weight in (1e-9, 5.0):
        model, tokenizer = build(SETTINGS, [f"{row['prompt']} {row['target']}" for row in rows], seed=1)
        method = begun(model, tokenizer, tmp_path, weight=weight)
        # the replayed rows have other targets now: only the teacher says what they were
        old = encode([{**row, "target": "Zoe"} for row in rows[:3]], tokenizer, 64)
        data = Mixture([Part(encode(rows[3:6], tokenizer, 64), 0.5), Part(old, 0.5)], 128, 20, 0, model.device)
        log = lambda step, values: None  # noqa: E731
        scratch = tmp_path / str(weight)
        train(model, data, Schedule(20, 3e-3, 0.1), methods=[method], scratch=scratch, log=log, seed=0)
        batch = collate(old, model.device)
        with torch.no_grad():
            teacher, student = (answer_logits(each, batch) for each in (method.teacher, model))
        distances.append(float(softened_kl(teacher, student, 1.0)))
    assert distances[1] < 0.7 * distances[0]
