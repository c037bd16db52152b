"""Pareto front of candidates: the points that no other point dominates."""

from collections.abc import Sequence

import numpy as np


def is_on_front(costs: Sequence[Sequence[float]]) -> list[bool]:
    """Whether each point is on the Pareto front; every coordinate is better when lower.

    A point is dominated if another is nowhere worse and somewhere better. Equal points are on
    the front together.

    Args:
        costs: One tuple of costs a candidate, all of one length, without NaN.

    Example:
        >>> is_on_front([(1, 9), (2, 2), (3, 3), (9, 1)])
        [True, True, False, True]
    """
    if not costs:
        return []
    cost_matrix = np.asarray(costs, dtype=np.float64)  # (N, n_costs)
    nowhere_worse = (cost_matrix[:, None, :] <= cost_matrix[None, :, :]).all(axis=2)  # (N, N)
    somewhere_better = (cost_matrix[:, None, :] < cost_matrix[None, :, :]).any(axis=2)
    is_dominated = np.any(nowhere_worse & somewhere_better, axis=0)
    return [not dominated for dominated in np.atleast_1d(is_dominated)]
