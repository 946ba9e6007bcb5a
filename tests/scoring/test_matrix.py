import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.scoring.matrix import (
    average_accuracy,
    average_incremental_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
)

R = [[0.9, None, None], [0.6, 0.8, None], [0.7, 0.5, 1.0]]


def test_the_measures_of_a_matrix_worked_out_by_hand():
    assert average_accuracy(R) == pytest.approx((0.7 + 0.5 + 1.0) / 3)
    assert average_incremental_accuracy(R) == pytest.approx((0.9 + 0.7 + 2.2 / 3) / 3)
    assert forgetting(R) == pytest.approx(((0.9 - 0.7) + (0.8 - 0.5)) / 2)
    assert backward_transfer(R) == pytest.approx(((0.7 - 0.9) + (0.5 - 0.8)) / 2)
    assert forward_transfer([0.0, 0.3, 0.5], [0.1, 0.1, 0.2]) == pytest.approx((0.2 + 0.3) / 2)


@given(st.integers(2, 6).flatmap(lambda n: st.lists(st.floats(0, 1), min_size=n * n, max_size=n * n)))
def test_the_measures_equal_a_brute_force_sum(values):
    n = int(len(values) ** 0.5)
    full = np.array(values).reshape(n, n)
    matrix = [[full[i, j] if j <= i else None for j in range(n)] for i in range(n)]
    fell = [max(full[i, j] for i in range(j, n - 1)) - full[n - 1, j] for j in range(n - 1)]
    moved = [full[n - 1, j] - full[j, j] for j in range(n - 1)]
    assert forgetting(matrix) == pytest.approx(np.mean(fell))
    assert backward_transfer(matrix) == pytest.approx(np.mean(moved))
    assert average_accuracy(matrix) == pytest.approx(full[-1].mean())


def test_one_slice_has_nothing_to_forget_and_a_missing_score_is_never_zero():
    assert forgetting([[0.5]]) is None
    assert backward_transfer([[0.5]]) is None
    assert average_accuracy([[None, None], [None, 0.4]]) == 0.4
    assert forgetting([[None, None], [None, 0.4]]) is None
