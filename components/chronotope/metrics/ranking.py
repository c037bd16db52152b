"""Ranking metrics of one target a query: rank, hit rate, NDCG, reciprocal rank.

All are computed over the full catalogue; items of equal score are ranked in expectation.
"""

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import Float64
from chronotope.contracts.ids import UNKNOWN


def expected_rank(
    item_scores: npt.NDArray[np.floating], target_idx: npt.NDArray[np.integer]
) -> Float64:
    """Rank of each target among all items when equal scores are ordered at random.

    ``rank = #{s > s*} + (#{s = s*} + 1) / 2`` over the items, the target included and
    the unknown (column 0) excluded. A constant score gives the middle of the catalogue,
    not the top, so a model gains nothing by ties.

    Args:
        item_scores: Score of every item, shape (B, n_items); higher is likelier.
        target_idx: Index of the true item, shape (B,), in 1 .. n_items - 1.

    Returns:
        Ranks from 1 (best) to n_items - 1, shape (B,).

    Raises:
        DataError: A score is NaN, or a target is not an item of the catalogue.

    Example:
        >>> expected_rank(np.array([[9.0, 3.0, 1.0, 1.0]]), np.array([2])).tolist()
        [2.5]
    """
    item_scores, target_idx = np.asarray(item_scores), np.asarray(target_idx)
    _validate_targets(item_scores, target_idx)
    known_scores = item_scores[:, UNKNOWN + 1 :]  # (B, n_items - 1)
    target_scores = item_scores[np.arange(len(target_idx)), target_idx][:, None]  # (B, 1)
    n_above = np.count_nonzero(known_scores > target_scores, axis=1)
    n_equal = np.count_nonzero(known_scores == target_scores, axis=1)
    return np.asarray(n_above + (n_equal + 1) / 2, dtype=np.float64)


def hit_rate(target_ranks: Float64, k: int) -> Float64:
    """Hit rate at k of each target, ``HR@k = 1[rank <= k]``.

    With one target a query it equals Recall@k and Acc@k.

    Args:
        target_ranks: Rank of each target, shape (n_targets,).
        k: Length of the list.

    Example:
        >>> hit_rate(np.array([1.0, 2.5, 11.0]), 10).tolist()
        [1.0, 1.0, 0.0]
    """
    return np.asarray(target_ranks <= k, dtype=np.float64)


def ndcg(target_ranks: Float64, k: int) -> Float64:
    """NDCG at k of each target, ``NDCG@k = 1[rank <= k] / log2(1 + rank)``.

    The ideal DCG of one relevant item is 1.

    Args:
        target_ranks: Rank of each target, shape (n_targets,).
        k: Length of the list.

    Example:
        >>> ndcg(np.array([1.0, 3.0, 11.0]), 10).tolist()
        [1.0, 0.5, 0.0]
    """
    gain = np.where(target_ranks <= k, 1 / np.log2(1 + target_ranks), 0.0)
    return np.asarray(gain, dtype=np.float64)


def reciprocal_rank(target_ranks: Float64) -> Float64:
    """Reciprocal rank of each target, ``RR = 1 / rank``; its mean is the MRR.

    Args:
        target_ranks: Rank of each target, shape (n_targets,).

    Example:
        >>> reciprocal_rank(np.array([1.0, 4.0])).tolist()
        [1.0, 0.25]
    """
    return np.asarray(1 / target_ranks, dtype=np.float64)


def _validate_targets(
    item_scores: npt.NDArray[np.floating], target_idx: npt.NDArray[np.integer]
) -> None:
    if item_scores.ndim != 2 or target_idx.shape != item_scores.shape[:1]:
        raise DataError(
            "Scores must have shape (B, n_items) and targets shape (B,)",
            received=f"{item_scores.shape} and {target_idx.shape}",
        )
    if len(target_idx) == 0:
        return
    if np.isnan(item_scores).any():
        raise DataError(
            "A score is NaN, so items cannot be ranked",
            received=f"{int(np.isnan(item_scores).sum())} NaN of {item_scores.size} scores",
            way_out="Let the model give -inf to items it excludes",
        )
    if target_idx.min() <= UNKNOWN or target_idx.max() >= item_scores.shape[1]:
        raise DataError(
            f"Targets must be item indices in 1 .. {item_scores.shape[1] - 1}",
            received=f"{target_idx.min()} .. {target_idx.max()}",
            way_out="Score the whole catalogue and leave unknown items out of the targets",
        )
