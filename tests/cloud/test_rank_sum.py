"""The statistic of the acceptance check ``hostile-claims`` against values computed by hand."""

import math
import random

import pytest

from tests.accept._rank_sum import rank_sum_p


def test_two_samples_that_do_not_overlap() -> None:
    # U = 0, mean 12.5, variance 25 * 11 / 12, so z = 12 / 4.787
    assert rank_sum_p([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(0.012186, abs=1e-6)


def test_ties_lessen_the_variance() -> None:
    # ranks 1.5 1.5 3.5 and 3.5 5.5 5.5: U = 0.5, variance 9 / 12 * (7 - 18 / 30)
    z = (4.5 - 0.5 - 0.5) / math.sqrt(9 / 12 * (7 - 18 / 30))
    assert rank_sum_p([1, 1, 2], [2, 3, 3]) == pytest.approx(math.erfc(z / math.sqrt(2)))
    assert rank_sum_p([1, 1], [1, 1]) == 1.0


def test_a_small_shift_of_many_is_seen_and_none_is_not() -> None:
    chance = random.Random(7)
    base, same = ([chance.gauss(20, 3) for _ in range(200)] for _ in range(2))
    assert rank_sum_p(base, same) > 0.01
    assert rank_sum_p(base, [value + 1.5 for value in same]) < 0.001
