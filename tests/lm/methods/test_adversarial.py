import pytest
import torch
from torch import nn

from tasks.lm.batches import Mixture, Part, collate, encode
from tasks.lm.causal import build
from tasks.lm.logits import answer_logits
from tasks.lm.methods.adversarial import FGM, PGD, FreeLB, steepest
from tasks.lm.training import Schedule, train
from tasks.method_params import FGM as FGMSettings
from tasks.method_params import PGD as PGDSettings
from tasks.method_params import FreeLB as FreeLBSettings
from tests.lm.conftest import SETTINGS

ORIGIN = [(1, 5), (0, 0), (2, 3), (0, 1)]
EPSILON = 0.05  # a token's embedding has a norm of about 0.1


def fgm(epsilon=EPSILON, weight=1.0):
    return FGM(FGMSettings(name="fgm", epsilon=epsilon, weight=weight), seed=0)


def pgd(epsilon=EPSILON, weight=1.0, steps=4, step_size=0.4):
    """The step is given in radii of the ball."""
    settings = PGDSettings(name="pgd", epsilon=epsilon, weight=weight, steps=steps, step_size=step_size * epsilon)
    return PGD(settings, seed=0)


def freelb(epsilon=EPSILON, weight=1.0, steps=3, step_size=0.6):
    step = step_size * epsilon
    settings = FreeLBSettings(name="freelb", epsilon=epsilon, weight=weight, steps=steps, step_size=step)
    return FreeLB(settings, seed=0)


EACH = pytest.mark.parametrize("make", [fgm, pgd, freelb])


@pytest.fixture
def learnt(tiny, rows):
    """A model that knows something, rows of unlike lengths, and their batch."""
    model, tokenizer = tiny
    unlike = [rows[0], {**rows[1], "prompt": "Well, who leads Peru now?"}, rows[6], {**rows[8], "target": "Ada leads."}]
    sequences = encode(unlike, tokenizer, 64)
    batch = collate(sequences, model.device, ORIGIN)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(15):
        nn.functional.cross_entropy(answer_logits(model, batch), batch.labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, sequences, batch


def loss_of_a_row(model, sequence, shift=None):
    """Summed over the answer, token by token, without padding; `shift` is [tokens before the last, width]."""
    ids = torch.tensor(sequence.ids, device=model.device)
    embeddings = model.get_input_embeddings().weight[ids[:-1]]
    if shift is not None:
        embeddings = embeddings + shift
    logits = model(inputs_embeds=embeddings[None]).logits[0]
    return sum(
        torch.logsumexp(logits[place - 1], 0) - logits[place - 1, ids[place]]
        for place in range(sequence.start, len(ids))
    )


def mean_loss(model, sequences, shifts=None):
    total = sum(
        loss_of_a_row(model, sequence, shifts[row, : len(sequence.ids) - 1] if shifts is not None else None)
        for row, sequence in enumerate(sequences)
    )
    return total / sum(len(sequence.ids) - sequence.start for sequence in sequences)


def gradient_of_a_row(model, sequence, shift):
    shift = shift.clone().requires_grad_()
    return torch.autograd.grad(loss_of_a_row(model, sequence, shift), shift)[0]


def shifts_seen(model, batch, method):
    """What the model is really given in its forward passes, less the embeddings of the tokens; and the penalty."""
    seen = []
    hook = model.base_model.register_forward_pre_hook(
        lambda module, args, inputs: seen.append(inputs["inputs_embeds"].detach().float()), with_kwargs=True
    )
    penalty = method.penalty(model, batch, torch.zeros(0))
    hook.remove()
    tokens = model.get_input_embeddings()(batch.ids).detach().float()
    return [each - tokens for each in seen], penalty


def norms(shift):
    return shift.flatten(1).norm(dim=1)


def random_of_norm(shift, sequences, seed):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(shift.shape, generator=generator).to(shift.device)
    for row, sequence in enumerate(sequences):
        drawn[row, len(sequence.ids) - 1 :] = 0
    return drawn * (norms(shift) / norms(drawn))[:, None, None]


def test_fgm_shifts_every_row_by_epsilon_along_its_own_gradient(learnt):
    model, sequences, batch = learnt
    (start, shift), penalty = shifts_seen(model, batch, fgm(weight=0.7))
    assert not start.any()
    torch.testing.assert_close(norms(shift), torch.full((4,), EPSILON, device=shift.device), rtol=1e-4, atol=0)
    expected = torch.zeros_like(shift)
    for row, sequence in enumerate(sequences):
        gradient = gradient_of_a_row(model, sequence, torch.zeros(len(sequence.ids) - 1, shift.shape[-1]).to(shift))
        expected[row, : len(sequence.ids) - 1] = EPSILON * gradient / gradient.norm()
    torch.testing.assert_close(shift, expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(penalty, 0.7 * mean_loss(model, sequences, expected), rtol=1e-4, atol=1e-6)


def test_pgd_takes_projected_steps_along_the_gradient(learnt):
    model, sequences, batch = learnt
    seen, penalty = shifts_seen(model, batch, pgd(weight=0.7, steps=5))
    assert len(seen) == 6
    expected = torch.zeros_like(seen[0])
    for shift in seen:
        torch.testing.assert_close(shift, expected, rtol=1e-3, atol=1e-5)
        for row, sequence in enumerate(sequences):
            at = expected[row, : len(sequence.ids) - 1].clone()
            gradient = gradient_of_a_row(model, sequence, at)
            at += 0.02 * gradient / gradient.norm()
            expected[row, : len(sequence.ids) - 1] = at if at.norm() <= EPSILON else EPSILON * at / at.norm()
    torch.testing.assert_close(penalty, 0.7 * mean_loss(model, sequences, seen[-1]), rtol=1e-4, atol=1e-6)


def test_every_point_of_pgd_and_freelb_lies_in_the_ball(learnt):
    model, _, batch = learnt
    reached, _ = shifts_seen(model, batch, pgd(steps=6))
    assert all((norms(shift) <= EPSILON * 1.0001).all() for shift in reached)
    assert (norms(reached[-1]) > 0.99 * EPSILON).all()  # after steps of 6 * 0.4 radii, at its surface
    inside, _ = shifts_seen(model, batch, pgd(steps=2))
    assert norms(inside[1]).tolist() == pytest.approx([0.02] * 4, rel=1e-3)
    assert (norms(inside[2]) < 0.0401).all()
    torch.manual_seed(3)
    reached, _ = shifts_seen(model, batch, freelb(steps=6))
    assert len(reached) == 6
    assert all((norms(shift) > 0).all() for shift in reached)
    assert all((norms(shift) <= EPSILON * 1.0001).all() for shift in reached)


@EACH
def test_the_example_is_worse_for_the_model_than_the_row_itself_and_than_random_shifts(learnt, make):
    model, sequences, batch = learnt
    torch.manual_seed(3)
    shift = shifts_seen(model, batch, make())[0][-1]
    with torch.no_grad():
        adversarial = mean_loss(model, sequences, shift)
        assert adversarial > 1.005 * mean_loss(model, sequences)
        for seed in range(20):
            assert adversarial > mean_loss(model, sequences, random_of_norm(shift, sequences, seed))
        for row, sequence in enumerate(sequences):  # each row's own, not only their mean
            own = loss_of_a_row(model, sequence, shift[row, : len(sequence.ids) - 1])
            assert own > loss_of_a_row(model, sequence)


@EACH
def test_tokens_that_no_prediction_depends_on_are_not_shifted(learnt, make):
    model, sequences, batch = learnt
    assert len({len(sequence.ids) for sequence in sequences}) > 1
    torch.manual_seed(3)
    for shift in shifts_seen(model, batch, make())[0][1:]:
        for row, sequence in enumerate(sequences):
            assert not shift[row, len(sequence.ids) - 1 :].any()
            assert shift[row, : len(sequence.ids) - 1].any(-1).all()


@pytest.mark.parametrize("make", [fgm, pgd])
def test_a_rows_example_does_not_depend_on_the_other_rows(learnt, make):
    model, sequences, batch = learnt
    together = shifts_seen(model, batch, make())[0][-1]
    for row, sequence in enumerate(sequences):
        alone = shifts_seen(model, collate([sequence], model.device), make())[0][-1][0]
        torch.testing.assert_close(together[row, : len(alone)], alone, rtol=1e-3, atol=1e-6)


@EACH
def test_making_the_example_leaves_the_parameters_gradients_alone(learnt, make):
    model, _, batch = learnt
    for number, value in enumerate(model.parameters()):
        value.grad = torch.full_like(value, float(number))
    torch.manual_seed(3)
    steepest(model, batch, torch.zeros(*batch.ids.shape, 32, device=model.device))
    penalty = make().penalty(model, batch, torch.zeros(0))
    assert all((value.grad == number).all() for number, value in enumerate(model.parameters()))
    penalty.backward()
    assert not all((value.grad == number).all() for number, value in enumerate(model.parameters()))


@pytest.mark.parametrize("make", [fgm, pgd])
def test_the_parameters_learn_from_the_example_as_a_fixed_one(learnt, make):
    """The shift is no function of the weights: nothing flows through the way it was found."""
    model, sequences, batch = learnt
    seen, penalty = shifts_seen(model, batch, make(weight=0.7))
    found = torch.autograd.grad(penalty, list(model.parameters()))
    expected = torch.autograd.grad(0.7 * mean_loss(model, sequences, seen[-1]), list(model.parameters()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_freelbs_gradient_is_the_mean_of_those_at_its_points(learnt):
    model, sequences, batch = learnt
    torch.manual_seed(3)
    penalty = freelb(weight=0.7).penalty(model, batch, torch.zeros(0))
    found = torch.autograd.grad(penalty, list(model.parameters()))
    torch.manual_seed(3)
    points = []
    for row, drawn in enumerate(torch.rand(*batch.ids.shape, 32).to(model.device)):
        uniform = (2 * drawn - 1)[: len(sequences[row].ids) - 1]
        points.append(EPSILON * uniform / uniform.numel() ** 0.5)
    places = sum(len(sequence.ids) - sequence.start for sequence in sequences)
    losses, gradients = [], []
    for _ in range(3):
        loss = sum(loss_of_a_row(model, each, at) for each, at in zip(sequences, points, strict=True)) / places
        losses.append(float(loss.detach()))
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
        for row, sequence in enumerate(sequences):
            gradient = gradient_of_a_row(model, sequence, points[row])
            at = points[row] + 0.03 * gradient / gradient.norm()
            points[row] = at * min(1.0, EPSILON / float(at.norm()))
    assert float(penalty.detach()) == pytest.approx(0.7 * sum(losses) / 3, rel=1e-4)
    assert losses[0] < losses[1] < losses[2]
    for one, *others in zip(found, *gradients, strict=True):
        torch.testing.assert_close(one, 0.7 * sum(others) / 3, rtol=1e-3, atol=1e-6)


def test_freelb_starts_anew_at_random_inside_the_ball(learnt):
    model, _, batch = learnt
    torch.manual_seed(3)
    starts = [shifts_seen(model, batch, freelb(steps=1))[0][0] for _ in range(2)]
    assert not torch.equal(*starts)
    for start in starts:  # uniform values have a root mean square of 1 / sqrt(3)
        assert norms(start).tolist() == pytest.approx([EPSILON / 3**0.5] * 4, rel=0.15)


@EACH
def test_bfloat16_weights_are_shifted_in_float32(learnt, make):
    model, _, batch = learnt
    model.bfloat16()
    torch.manual_seed(3)
    seen, penalty = shifts_seen(model, batch, make(epsilon=0.5))
    assert penalty.dtype == torch.float32
    assert torch.isfinite(penalty)
    assert all((norms(shift) <= 0.51).all() for shift in seen)
    if make is fgm:  # as exact as bfloat16 embeddings can be
        assert norms(seen[-1]).tolist() == pytest.approx([0.5] * 4, rel=0.02)
    penalty.backward()
    assert all(torch.isfinite(value.grad).all() for value in model.parameters())


def run(rows, scratch, method, steps=8, killed_at=None):
    model, tokenizer = build(SETTINGS, [f"{row['prompt']} {row['target']}" for row in rows], seed=1)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.1

    def log(step, values):
        if step == killed_at:
            raise KeyboardInterrupt

    parts = [Part(encode(rows[:4], tokenizer, 64), 0.5), Part(encode(rows[4:], tokenizer, 64), 0.5)]
    data = Mixture(parts, 128, steps, 0, model.device)
    train(model, data, Schedule(steps, 1e-2, 0.1, 3), methods=[method], scratch=scratch, log=log, seed=0)
    return model, tokenizer


def weights(model):
    return torch.cat([value.detach().flatten() for value in model.parameters()])


@EACH
def test_a_killed_run_ends_with_the_same_weights(rows, tmp_path, make):
    whole, _ = run(rows, tmp_path / "a", make())
    with pytest.raises(KeyboardInterrupt):
        run(rows, tmp_path / "b", make(), killed_at=5)
    again, _ = run(rows, tmp_path / "b", make())
    assert torch.equal(weights(again), weights(whole))


@EACH
def test_a_shift_costs_a_model_less_that_was_trained_with_it(rows, tmp_path, make):
    costs = []
    for weight in (1e-9, 1.0):
        model, tokenizer = run(rows, tmp_path / str(weight), make(epsilon=0.5, weight=weight), steps=40)
        batch = collate(encode(rows, tokenizer, 64), model.device)
        clean = nn.functional.cross_entropy(answer_logits(model, batch), batch.labels)
        costs.append(float((fgm(epsilon=0.5).penalty(model, batch, torch.zeros(0)) - clean).detach()))
    assert 0 < costs[1] < 0.5 * costs[0]
