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
from tasks.lm.solved.learn import places_of
from tasks.lm.solved.module import Memory
from tasks.lm.solved.solution import Solution, solve
from tasks.lm.solved.sums import Sums
from tasks.solved_params import RIDGES

CALIBRATING = 512  # rows
LOST = 0.02  # of known questions
SLACK = 2.0
RANDOM = 256  # questions


@dataclass
class LeftOut:
    """Questions in the sums: q, [questions, D]; z, [questions, K]; how often each is there; its answer's tokens."""

    seen: Tensor
    targets: Tensor
    times: Tensor
    answers: list[list[int]]


def solve_for(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, memory: Memory, sums: Sums, rows: list[Row], seed: int
) -> None:
    """Let the memory speak as its sums say, and set its voice, and what counts as known, by rows that are in them.

    Of a sample of the rows, those about facts if there are any, each question is left out: the ridge is the least under
    which about as many as can be are still answered, the memory has half its voice where a place is SLACK times as
    unseen as all but LOST of them, and it knows a question that it doubts no more. What an older slice set stays, if it
    is more: it moves with how unseen questions at random have become.
    """
    before = memory.solution
    about = at_most([row for row in rows if row["fact"]] or rows, CALIBRATING, seed)
    chosen = {(row["prompt"], row["target"]) for row in about}
    alike = [
        row for row in rows if (row["prompt"], row["target"]) in chosen
    ]  # one is left out with all that say the same
    left_out = _left_out(model, tokenizer, memory, alike) if alike else None
    solution, unseen, predicted = _regression(memory, sums, left_out)
    memory.learn(solution, sums.tokens)
    if left_out:
        solution.half = SLACK * float(unseen.quantile(1 - LOST))
        solution.limit = float(memory.doubt(unseen, predicted).quantile(1 - LOST))
    solution.at_random = float(solution.unseen(memory.at_random(RANDOM)).log().mean())
    if before:
        moved = solution.at_random - before.at_random
        half, limit = before.half * math.exp(moved), before.limit + moved
        solution.half = max(solution.half, half) if left_out else half
        solution.limit = max(solution.limit, limit) if left_out else limit


def _regression(memory: Memory, sums: Sums, left_out: LeftOut | None) -> tuple[Solution, Tensor, Tensor]:
    """The solution under the first of the ridges that is no worse than the best by more than a standard error of its
    share of right answers (Breiman et al. 1984, section 3.4.3: so that it does not change with every slice); how unseen
    each question would be without itself, and what would be predicted for it.
    """
    last = memory.solution.ridge if memory.solution else RIDGES[0]
    asked_for = memory.settings.ridge
    if not left_out:
        return solve(sums, asked_for or last).solution(), torch.empty(0), torch.empty(0)
    memory.know(sums.tokens)
    tried: list[tuple[float, Solution, Tensor, Tensor]] = []
    for ridge in (asked_for,) if asked_for else RIDGES:
        regression = solve(sums, ridge)
        unseen, predicted = regression.without(left_out.seen, left_out.targets, left_out.times)
        tried.append((_still_right(memory, predicted, left_out), regression.solution(), unseen, predicted))
    most = max(each[0] for each in tried)
    error = (most * (1 - most) / len(left_out.answers)) ** 0.5
    return next(each[1:] for each in tried if each[0] >= most - error)


def _left_out(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, memory: Memory, rows: list[Row]) -> LeftOut:
    parts = []
    for seen, answers, times, begins in places_of(model, memory, encode(rows, tokenizer, limit_of(model))):
        targets = bound(answers, memory.settings.codes).to(model.device)
        first = [answer for answer, begin in zip(answers, begins.tolist(), strict=True) if begin]
        parts.append((seen[begins], targets[begins], times[begins], first))
    seen, targets, times = (torch.cat([part[at] for part in parts]) for at in range(3))  # type: ignore[misc]
    return LeftOut(seen, targets, times, [answer for part in parts for answer in part[3]])


def _still_right(memory: Memory, predicted: Tensor, left_out: LeftOut) -> float:
    """The share of questions whose answer can be read from what is predicted without each of them."""
    tokens = memory.read(predicted)[0].tolist()
    right = [said[: len(wanted)] == wanted for said, wanted in zip(tokens, left_out.answers, strict=True)]
    return sum(right) / len(right)
