"""Whether two samples can be told apart: the rank-sum test of Mann and Whitney."""

import math
from collections import Counter
from collections.abc import Sequence


def rank_sum_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p by the normal approximation, corrected for ties and continuity; for 8 and more of each."""
    n, m = len(first), len(second)
    ordered = sorted([*first, *second])
    total = n + m
    count = Counter(ordered)
    rank_of: dict[float, float] = {}
    before = 0
    for value in sorted(count):
        rank_of[value] = before + (count[value] + 1) / 2
        before += count[value]
    u = sum(rank_of[value] for value in first) - n * (n + 1) / 2
    ties = sum(times**3 - times for times in count.values())
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance == 0:
        return 1.0
    z = max(abs(u - n * m / 2) - 0.5, 0.0) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))
