"""Diversity of recommendations: entropy of each answer, concentration over items."""

import numpy as np
import numpy.typing as npt
from scipy.special import entr, softmax

from chronotope.contracts.event_log import Float64
from chronotope.contracts.ids import UNKNOWN


def answer_entropy(item_scores: npt.NDArray[np.floating]) -> Float64:
    """Entropy of the predicted distribution over the known items, in nats, shape (B,).

    Args:
        item_scores: Logits of all items, shape (B, n_items); -inf for excluded items.

    Example:
        >>> answer_entropy(np.array([[0.0, 1.0, 1.0], [0.0, 9.0, -np.inf]])).round(3).tolist()
        [0.693, 0.0]
    """
    probability = softmax(np.asarray(item_scores, np.float64)[:, UNKNOWN + 1 :], axis=1)
    return np.asarray(entr(probability).sum(axis=1), dtype=np.float64)


def gini(item_counts: npt.ArrayLike) -> float:
    """Gini coefficient of item counts: 0 if all are equal, near 1 if one item has all.

    ``G = sum_i (2 i - n - 1) x_i / (n sum_i x_i)`` with x in increasing order, i from 1.

    Args:
        item_counts: Number of recommendations of each item, shape (n,).

    Returns:
        The coefficient; NaN if all counts are 0.

    Example:
        >>> gini([1, 1, 1, 1]), gini([0, 0, 0, 4])
        (0.0, 0.75)
    """
    sorted_counts = np.sort(np.asarray(item_counts, np.float64))
    n_items, total_count = len(sorted_counts), sorted_counts.sum()
    if not total_count:
        return float("nan")
    rank_weights = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float((rank_weights * sorted_counts).sum() / (n_items * total_count))
