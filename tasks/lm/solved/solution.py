"""Ridge regression, solved from a bucket's sums: which answer belongs to a question, and whether it was ever seen.

With features phi = q / (32 sqrt(D)), codes of length one and a ridge lambda:

    A = (G + lambda I)^-1 C        unseen(x) = lambda s / phi^T phi,  s = phi^T (G + lambda I)^-1 phi

A is what joint training on all places in the sums gives, exactly (Zhuang et al. 2022, arXiv 2205.14922, theorem 1, for
classes of images). unseen(x) is the posterior variance of the prediction as a share of the prior one (Rasmussen and
Williams 2006, Gaussian Processes for Machine Learning, equation 2.11): 1 for what is like nothing in the sums, near 0
for what is. With (G + lambda I) = L L^T, s = |L^-1 phi|^2; what is kept of L^-1 are SKETCH random projections of its
rows, under which lengths are the same up to sqrt(2 / SKETCH) (Johnson and Lindenstrauss 1984).

What a known question looks like in words that were not learnt is told by leaving out: without a place that is in the
sums c times with the answer z, s would be s / (1 - c s), and the prediction p would be (p - c s z) / (1 - c s) (Sherman
and Morrison 1950; Allen 1974, Technometrics 16(1)). The other wordings of its fact are still there.

How full a bucket is shows in how much of what it was taught it still says:

    reproduced = 1 - sum |z - A^T q|^2 / sum |z|^2,   sum |z - A^T q|^2 = sum |z|^2 - tr(A^T C) - lambda |A|^2

and in how many of its D directions are taken: the effective degrees of freedom (Hastie, Tibshirani and Friedman 2009,
The Elements of Statistical Learning, equation 3.50), whose trace the sketch estimates (Hutchinson 1989):

    rank = tr(G (G + lambda I)^-1) = D - lambda tr((G + lambda I)^-1) = D - E |sketch|^2
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from tasks.lm.solved.codes import SEED
from tasks.lm.solved.features import LEVELS
from tasks.lm.solved.sums import Sums

SKETCH = 256
STEEP = 8  # how fast the memory falls silent


@dataclass
class Solution:
    """answers: A, [D, K], and sketch: of sqrt(lambda) L^-1, [SKETCH, D], both for q itself, in bfloat16.

    half: how unseen a place is where the memory has half its voice. limit: of the doubt (see module.py) about a
    question that is called known. at_random: the mean logarithm of how unseen random questions are. reproduced: the
    share of the answers' codes that it says, over all that is in the sums. rank: how many directions are taken, of D.
    ridge: lambda, in units of phi.
    """

    answers: Tensor
    sketch: Tensor
    half: float = 1.0
    limit: float = 0.0
    at_random: float = 0.0
    reproduced: float = 1.0
    rank: float = 0.0
    ridge: float = 0.0

    def predicted(self, features: Tensor) -> Tensor:
        """z, [places, K], of q, [places, D]."""
        return features @ self.answers.float()

    def unseen(self, features: Tensor) -> Tensor:
        """From 0, seen, to 1, [places], of q, [places, D]."""
        own = features.square().sum(-1).clamp(min=1.0)
        return ((features @ self.sketch.float().T).square().sum(-1) / own).clamp(max=1.0)

    def voice(self, unseen: Tensor) -> Tensor:
        """How loud the memory is at places, by how unseen they are; both [places], from 0 to 1."""
        return 1 / (1 + (unseen / self.half) ** STEEP)


@dataclass
class Regression:
    """The regression in float64, as long as it is at hand: L, [D, D], A, [D, K], and lambda in units of q."""

    factor: Tensor
    answers: Tensor
    unit: float
    sums: Sums

    def solution(self) -> Solution:
        """What is kept of it."""
        length, left = self.sums.length, self.sums.length - float((self.answers * self.sums.cross).sum())
        left -= self.unit * float(self.answers.square().sum())
        return Solution(
            self.answers.to(torch.bfloat16).contiguous(),
            self.sketch.to(torch.bfloat16).contiguous(),
            reproduced=1 - left / max(1, length),
            rank=self.rank,
            ridge=self.unit / (LEVELS**2 * len(self.factor)),
        )

    @property
    def rank(self) -> float:
        """How many directions are taken, of D."""
        return len(self.factor) - float(self.sketch.square().sum())

    @cached_property
    def sketch(self) -> Tensor:
        """Of sqrt(lambda) L^-1, [SKETCH, D]."""
        random = torch.from_numpy(np.random.RandomState(SEED).standard_normal((len(self.factor), SKETCH)))
        return torch.linalg.solve_triangular(self.factor.T, random, upper=True).T * (self.unit / SKETCH) ** 0.5

    def without(self, features: Tensor, targets: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """How unseen places that are in the sums would be, each without itself, and what would be predicted there.

        Args:
            features: q, [places, D].
            targets: z, [places, K].
            times: how often each place is in the sums, [places].

        Returns:
            Tensors [places] and [places, K].
        """
        exact = features.double().cpu()
        own = exact.square().sum(-1).clamp(min=1.0)
        within = torch.linalg.solve_triangular(self.factor, exact.T, upper=False).square().sum(0)
        taken = times.double().cpu() * within
        left = (1 - taken).clamp(min=1e-6)
        predicted = (exact @ self.answers - taken.unsqueeze(1) * targets.double().cpu()) / left.unsqueeze(1)
        unseen = within / left * self.unit / own
        return unseen.float().to(features.device), predicted.float().to(features.device)


def solve(sums: Sums, ridge: float) -> Regression:
    """Solve for all that is in the sums; `ridge` is in units of phi."""
    unit = ridge * LEVELS**2 * len(sums.gram)
    scaled = sums.gram.double()
    scaled.diagonal().add_(unit)
    factor = torch.linalg.cholesky(scaled)
    return Regression(factor, torch.cholesky_solve(sums.cross.double(), factor), unit, sums)
