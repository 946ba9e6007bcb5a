"""The ridge is chosen by leaving questions out: as by solving again without each of them."""

from dataclasses import replace

import pytest
import torch

from tasks.lm.causal import load
from tasks.lm.solved import calibration
from tasks.lm.solved.calibration import LeftOut, _regression, _without, solve_for
from tasks.lm.solved.codes import bound
from tasks.lm.solved.learn import Kept
from tasks.lm.solved.module import memory_of
from tasks.lm.solved.solution import solve
from tasks.lm.solved.sums import Sums
from tasks.solved_params import FIRST, RIDGES
from tests.lm.solved.brought import SMALL

PLACES, LABELS = 36, 6


@pytest.fixture(scope="module")
def labelled(whole):
    """Noisy questions of a few labels, the sums of them, and the memory that reads answers."""
    memory = memory_of(load(whole.root / "three/lm")[0])
    random = torch.Generator().manual_seed(3)
    kinds = torch.arange(PLACES) % LABELS
    seen = torch.randn(LABELS, SMALL.width, generator=random)[kinds] / 8
    seen = (32 * (seen + torch.randn(PLACES, SMALL.width, generator=random))).relu().round().clamp(max=127)
    known = memory.head.known[:LABELS].tolist()
    answers = [[known[kind]] for kind in kinds.tolist()]
    sums = Sums.empty(SMALL.width, SMALL.codes, len(memory.tokens))
    counts = torch.bincount(torch.tensor(answers).flatten(), minlength=len(memory.tokens))
    sums.add(seen, bound(answers, SMALL.codes), counts)
    return memory, sums, LeftOut(seen, bound(answers, SMALL.codes), torch.ones(PLACES))


@pytest.fixture(scope="module")
def wrong(labelled):
    """For each ridge, how far what is predicted for each question without it is from its answer, in squares, by solving
    again without each."""
    _, sums, left_out = labelled
    none, found = torch.zeros(len(sums.tokens)), dict.fromkeys(RIDGES, 0.0)
    for place in range(PLACES):
        one = left_out.seen[place : place + 1], left_out.targets[place : place + 1], none
        sums.add(*one, -1)
        for ridge in RIDGES:
            said = solve(sums, ridge).solution().predicted(one[0])
            found[ridge] += float((said - one[1]).square().sum())
        sums.add(*one)
    return found


def test_what_is_wrong_when_left_out_is_what_would_be_without_each(labelled, wrong):
    _, sums, left_out = labelled
    for ridge in RIDGES:
        assert _without(sums, ridge, left_out).error == pytest.approx(wrong[ridge], rel=0.01)


def test_the_ridge_has_the_least_that_is_wrong(labelled, wrong):
    memory, sums, left_out = labelled
    best = min(wrong, key=wrong.get)
    assert RIDGES[0] < best < RIDGES[-1]
    assert _regression(memory, sums, left_out, None)[0].ridge == pytest.approx(best)
    memory.settings = SMALL.model_copy(update={"ridge": 0.07})
    assert _regression(memory, sums, left_out, None)[0].ridge == pytest.approx(0.07)
    memory.settings = SMALL


def test_without_a_question_to_leave_out_the_ridge_stays(labelled):
    memory, sums, _ = labelled
    before = replace(memory.buckets[0], ridge=0.3)
    assert _regression(memory, sums, None, before)[0].ridge == pytest.approx(0.3)
    assert _regression(memory, sums, None, None)[0].ridge == pytest.approx(FIRST)


def test_a_question_is_left_out_as_often_as_it_is_in_the_sums(whole, monkeypatch):
    model, tokenizer = load(whole.root / "three/lm")
    memory, kept = memory_of(model), Kept.load(whole.root / "three/lm")
    rows = [{"prompt": f"Say {number}.", "target": "yes", "fact": None} for number in range(4)] * 3
    seen = []
    monkeypatch.setattr(calibration, "_regression", lambda *given: seen.append(given[2]) or _regression(*given))
    monkeypatch.setattr(calibration, "CALIBRATING", 5)  # of twelve rows
    solve_for(model, tokenizer, memory, kept, {0: rows}, 0)
    assert set(seen[0].times.tolist()) == {3}
