"""How varied answers are: how undecided each is, and how few items all of them name."""

import numpy as np
import numpy.typing as npt
from scipy.special import entr, softmax

from chronotope.contracts.event_log import Float64
from chronotope.contracts.ids import UNKNOWN


def answer_entropy(scores: npt.NDArray[np.floating]) -> Float64:
    """Entropy of the predicted distribution over the known items, in nats, shape (B,).

    Args:
        scores: Logits of all items, shape (B, n_items); -inf for items ruled out.

    Example:
        >>> answer_entropy(np.array([[0.0, 1.0, 1.0], [0.0, 9.0, -np.inf]])).round(3).tolist()
        [0.693, 0.0]
    """
    probability = softmax(np.asarray(scores, np.float64)[:, UNKNOWN + 1 :], axis=1)
    return np.asarray(entr(probability).sum(axis=1), dtype=np.float64)


def gini(counts: npt.ArrayLike) -> float:
    """Concentration of counts: 0 if all are equal, near 1 if one has everything.

    ``G = sum_i (2 i - n - 1) x_i / (n sum_i x_i)`` with x in increasing order, i from 1.

    Args:
        counts: How often each item was named, shape (n,).

    Returns:
        NaN if nothing was named.

    Example:
        >>> gini([1, 1, 1, 1]), gini([0, 0, 0, 4])
        (0.0, 0.75)
    """
    x = np.sort(np.asarray(counts, np.float64))
    if not x.sum():
        return float("nan")
    place = np.arange(1, len(x) + 1)
    return float(((2 * place - len(x) - 1) * x).sum() / (len(x) * x.sum()))
