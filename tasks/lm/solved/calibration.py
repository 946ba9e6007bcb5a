"""The sums become a memory that speaks: its ridge, how loud it is and what it knows, by leaving questions out."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.corpus.slices import Row
from tasks.lm.batches import encode
from tasks.lm.causal import limit_of
from tasks.lm.shares import at_most
from tasks.lm.solved.codes import bound
from tasks.lm.solved.learn import Kept, places_of
from tasks.lm.solved.module import Memory
from tasks.lm.solved.solution import Solution, solve
from tasks.lm.solved.sums import Sums
from tasks.solved_params import FIRST, RIDGES

CALIBRATING = 512  # rows
LOST = 0.02  # of known questions
RANDOM = 256  # questions


@dataclass
class LeftOut:
    """Questions in the sums: q, [questions, D]; z, [questions, K]; and how often each is there, [questions]."""

    seen: Tensor
    targets: Tensor
    times: Tensor


@dataclass
class Without:
    """The solution under a ridge, and what would be without each question that is left out: see Regression.without."""

    solution: Solution
    unseen: Tensor
    predicted: Tensor
    error: float  # sum |z - p|^2


def solve_for(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    memory: Memory,
    kept: Kept,
    added: dict[int, list[Row]],
    seed: int,
) -> None:
    """Let the memory speak as its sums say. Where rows were added, they set a bucket's voice, and what it calls known.

    Of a sample of a bucket's rows, those about facts if there are any, each question is left out: under the ridge what
    is predicted then is nearest to the answers, the memory has half its voice where a place is as far (in logarithms)
    from being as unseen as all but LOST of them as from being so like questions at random, and it knows a question that
    it doubts no more than those. Without rows both are as they were, moved as questions at random have moved.
    """
    known = dict(enumerate(memory.buckets))
    memory.learn(memory.buckets, kept.tokens)
    for number in sorted(kept.changed | set(added)):
        rows = added.get(number, [])
        about = at_most([row for row in rows if row["fact"]] or rows, CALIBRATING, seed)
        chosen = {(row["prompt"], row["target"]) for row in about}
        alike = [row for row in rows if (row["prompt"], row["target"]) in chosen]  # all that say the same are left out
        left_out = _left_out(model, tokenizer, memory, alike) if alike else None
        known[number] = _solved(memory, kept.sums[number], left_out, known.get(number))
    memory.learn([known[number] for number in range(len(kept.sums))], kept.tokens)


def _solved(memory: Memory, sums: Sums, left_out: LeftOut | None, before: Solution | None) -> Solution:
    """A bucket as its sums say, `before` being what it was."""
    solution, unseen, predicted = _regression(memory, sums, left_out, before)
    solution.at_random = float(solution.unseen(memory.at_random(RANDOM)).log().mean())
    if left_out:
        solution.half = (float(unseen.quantile(1 - LOST)) * math.exp(solution.at_random)) ** 0.5
        solution.limit = float(memory.doubt(unseen, memory.read(predicted)).quantile(1 - LOST))
    elif before:
        moved = solution.at_random - before.at_random
        solution.half, solution.limit = before.half * math.exp(moved), before.limit + moved
    return solution


def _regression(
    memory: Memory, sums: Sums, left_out: LeftOut | None, before: Solution | None
) -> tuple[Solution, Tensor, Tensor]:
    """The solution; how unseen each question would be without itself, and what would be predicted for it.

    Its ridge is the one that is asked for, or else one of RIDGES: where the sum of squares of what is wrong there
    (PRESS: Allen 1974, Technometrics 16(1)) has a minimum, downhill from FIRST.
    """
    asked_for = memory.settings.ridge
    if not left_out:
        ridge = asked_for or (before.ridge if before else FIRST)
        return solve(sums, ridge).solution(), torch.empty(0), torch.empty(0)
    best = begin = _without(sums, asked_for or FIRST, left_out)
    if not asked_for:
        at = RIDGES.index(FIRST)
        for ways in (RIDGES[at + 1 :], RIDGES[:at][::-1]):
            for ridge in ways:
                other = _without(sums, ridge, left_out)
                if other.error >= best.error:
                    break
                best = other
            if best is not begin:  # the other way it is uphill
                break
    return best.solution, best.unseen, best.predicted


def _without(sums: Sums, ridge: float, left_out: LeftOut) -> Without:
    regression = solve(sums, ridge)
    unseen, predicted = regression.without(left_out.seen, left_out.targets, left_out.times)
    error = float((left_out.targets - predicted).double().square().sum())
    return Without(regression.solution(), unseen, predicted, error)


def _left_out(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, memory: Memory, rows: list[Row]) -> LeftOut:
    parts = []
    for seen, answers, times, begins in places_of(model, memory, encode(rows, tokenizer, limit_of(model))):
        targets = bound(answers, memory.settings.codes).to(model.device)
        parts.append((seen[begins], targets[begins], times[begins]))
    return LeftOut(*(torch.cat(each) for each in zip(*parts, strict=True)))
