"""Rank of a target among the items that its user never had before.

It judges a request for new items only: everything that the user had is left out of the ranking.
A target that the user had before has no such rank.
"""

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Float64
from chronotope.metrics.distinct_items import DistinctItems


def new_only_rank(
    item_scores: npt.NDArray[np.floating],
    target_idx: npt.NDArray[np.integer],
    target_ranks: Float64,
    owned: DistinctItems,
) -> Float64:
    """Expected rank of each target among the items that its user never had, shape (B,).

    It is the rank among all items, less the owned items above the target and half of those with
    the same score; NaN where the target is owned.

    Args:
        item_scores: Score of every item, shape (B, n_items).
        target_idx: Index of the true item, shape (B,).
        target_ranks: ``expected_rank`` of each target, shape (B,).
        owned: Items that are left out of the ranking.

    Example:
        >>> scores = np.array([[0.0, 9.0, 5.0, 5.0, 5.0]])
        >>> owned = DistinctItems(np.array([0, 0]), np.array([1, 4]))
        >>> new_only_rank(scores, np.array([2]), np.array([3.0]), owned).tolist()
        [1.5]
    """
    n_targets = len(target_idx)
    owned_scores = item_scores[owned.row, owned.item_idx]
    target_scores = item_scores[np.arange(n_targets), target_idx][owned.row]
    is_target = owned.item_idx == target_idx[owned.row]
    n_above = np.bincount(owned.row, owned_scores > target_scores, minlength=n_targets)
    n_equal = np.bincount(owned.row, owned_scores == target_scores, minlength=n_targets)
    is_owned = np.bincount(owned.row, is_target, minlength=n_targets) > 0
    return np.where(is_owned, np.nan, target_ranks - n_above - n_equal / 2)
