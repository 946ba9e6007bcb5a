"""The ridge is chosen by leaving questions out: as by solving again without each of them."""

import pytest
import torch

from tasks.lm.causal import load
from tasks.lm.solved import calibration
from tasks.lm.solved.calibration import LeftOut, _regression, _still_right, solve_for
from tasks.lm.solved.codes import bound
from tasks.lm.solved.learn import Kept
from tasks.lm.solved.module import memory_of
from tasks.lm.solved.solution import solve
from tasks.lm.solved.sums import Sums
from tasks.solved_params import RIDGES
from tests.lm.solved.brought import SMALL

PLACES, LABELS = 36, 6


@pytest.fixture(scope="module")
def labelled(whole):
    """Noisy questions of a few labels, the sums of them, and the memory that reads answers."""
    memory = memory_of(load(whole.root / "three/lm")[0])
    random = torch.Generator().manual_seed(3)
    kinds = torch.arange(PLACES) % LABELS
    seen = torch.randn(LABELS, SMALL.width, generator=random)[kinds] / 3
    seen = (32 * (seen + torch.randn(PLACES, SMALL.width, generator=random))).relu().round().clamp(max=127)
    known = memory.head.known[:LABELS].tolist()
    answers = [[known[kind]] for kind in kinds.tolist()]
    sums = Sums.empty(SMALL.width, SMALL.codes, len(memory.tokens))
    counts = torch.bincount(torch.tensor(answers).flatten(), minlength=len(memory.tokens))
    sums.add(seen, bound(answers, SMALL.codes), counts)
    memory.know(sums.tokens)
    return memory, sums, LeftOut(seen, bound(answers, SMALL.codes), torch.ones(PLACES), answers)


def right_without_each(memory, sums, left_out, ridge):
    none = torch.zeros(len(memory.tokens))
    right = 0
    for place in range(PLACES):
        one = left_out.seen[place : place + 1], left_out.targets[place : place + 1], none
        sums.add(*one, -1)
        said = memory.read(solve(sums, ridge).solution().predicted(one[0]))[0]
        right += int(said[0, 0]) == left_out.answers[place][0]
        sums.add(*one)
    return right / PLACES


def test_what_is_still_right_is_what_would_be_without_each(labelled):
    memory, sums, left_out = labelled
    alone = [solve(sums, ridge).without(left_out.seen, left_out.targets, left_out.times)[1] for ridge in RIDGES]
    found = [_still_right(memory, predicted, left_out) for predicted in alone]
    assert found == [right_without_each(memory, sums, left_out, ridge) for ridge in RIDGES]
    assert 0.3 < found[0] < 1


def test_the_ridge_is_the_least_that_is_about_as_good_as_the_best(labelled):
    memory, sums, left_out = labelled
    chosen = _regression(memory, sums, left_out)[0].ridge
    alone = {ridge: solve(sums, ridge).without(left_out.seen, left_out.targets, left_out.times)[1] for ridge in RIDGES}
    right = {ridge: _still_right(memory, predicted, left_out) for ridge, predicted in alone.items()}
    best = max(right.values())
    assert chosen == pytest.approx(
        min(ridge for ridge in RIDGES if best - right[ridge] <= (best * (1 - best) / PLACES) ** 0.5)
    )
    memory.settings = SMALL.model_copy(update={"ridge": 0.07})
    assert _regression(memory, sums, left_out)[0].ridge == pytest.approx(0.07)
    memory.settings = SMALL
    clear = LeftOut(left_out.seen, -left_out.targets, left_out.times, [[-1]] * PLACES)  # none is ever right
    assert _regression(memory, sums, clear)[0].ridge == pytest.approx(RIDGES[0])


def test_a_question_is_left_out_as_often_as_it_is_in_the_sums(whole, monkeypatch):
    model, tokenizer = load(whole.root / "three/lm")
    memory, kept = memory_of(model), Kept.load(whole.root / "three/lm")
    rows = [{"prompt": f"Say {number}.", "target": "yes", "fact": None} for number in range(4)] * 3
    seen = []
    monkeypatch.setattr(calibration, "_regression", lambda *given: seen.append(given[-1]) or _regression(*given))
    monkeypatch.setattr(calibration, "CALIBRATING", 5)  # of twelve rows
    solve_for(model, tokenizer, memory, kept.sums, rows, 0)
    assert set(seen[0].times.tolist()) == {3}
