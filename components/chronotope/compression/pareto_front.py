"""The Pareto front: what nothing else beats in every respect."""

from collections.abc import Sequence

import numpy as np


def is_on_front(points: Sequence[Sequence[float]]) -> list[bool]:
    """Whether each point is on the front; every coordinate is better when lower.

    A point is off the front if another is nowhere worse and somewhere better. Equal
    points are on it together.

    Args:
        points: One tuple of costs a candidate, all of one length, without NaN.

    Example:
        >>> is_on_front([(1, 9), (2, 2), (3, 3), (9, 1)])
        [True, True, False, True]
    """
    if not points:
        return []
    costs = np.asarray(points, dtype=np.float64)
    nowhere_worse = (costs[:, None, :] <= costs[None, :, :]).all(axis=2)
    somewhere_better = (costs[:, None, :] < costs[None, :, :]).any(axis=2)
    beaten = np.any(nowhere_worse & somewhere_better, axis=0)
    return [not each for each in np.atleast_1d(beaten)]
