"""The accuracy matrix R and what is read off it.

R[i][j] is the score on slice j of the model after slice i; above the diagonal, and for a slice without test rows,
it is None. All measures are those of Lopez-Paz & Ranzato 2017 (GEM) and Chaudhry et al. 2018 (forgetting).
"""

from collections.abc import Sequence

Matrix = Sequence[Sequence[float | None]]


def average_accuracy(matrix: Matrix) -> float | None:
    """mean_j R[T-1][j]: what the last model knows of all slices (GEM, eq. 2)."""
    return _mean(matrix[-1])


def average_incremental_accuracy(matrix: Matrix) -> float | None:
    """mean_i mean_{j<=i} R[i][j] (Rebuffi et al. 2017)."""
    return _mean([_mean(row) for row in matrix])


def forgetting(matrix: Matrix) -> float | None:
    """mean_{j<T-1} (max_{i<T-1} R[i][j] - R[T-1][j]): how far each old slice fell (Chaudhry et al. 2018, eq. 3)."""
    drops = []
    for slice_, last in enumerate(matrix[-1][:-1]):
        before = [row[slice_] for row in matrix[:-1] if slice_ < len(row)]
        known = [score for score in before if score is not None]
        if last is not None and known:
            drops.append(max(known) - last)
    return _mean(drops)


def backward_transfer(matrix: Matrix) -> float | None:
    """mean_{j<T-1} (R[T-1][j] - R[j][j]): what later slices did to older ones (GEM, eq. 3)."""
    return _mean([_difference(last, matrix[j][j]) for j, last in enumerate(matrix[-1][:-1])])


def forward_transfer(before: Sequence[float | None], baseline: Sequence[float | None]) -> float | None:
    """mean_{j>=1} (R[j-1][j] - b_j): what a slice's model knows of the next one (GEM, eq. 4).

    Args:
        before: R[j-1][j] for every slice j, the score before training on it; the first is not used.
        baseline: b_j, the base model's score.
    """
    return _mean([_difference(score, base) for score, base in list(zip(before, baseline, strict=True))[1:]])


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
