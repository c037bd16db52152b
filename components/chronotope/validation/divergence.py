"""How far two distributions are apart, and what occurs for the first time.

Everything works along the last axis, so that many windows are compared at once.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

FLOOR: Final = 1e-4
"""Least share of a bin in the stability index, which is infinite where one is empty."""


def stability_index(now: npt.ArrayLike, accepted: npt.ArrayLike) -> Numbers:
    """Population stability index, ``sum_b (p_b - q_b) ln(p_b / q_b)``.

    Args:
        now: Shares p of the bins, shape (..., B); below ``FLOOR`` they count as that.
        accepted: Shares q that they are compared with, shape (..., B).

    Returns:
        Shape (...); 0 for equal distributions.

    Example:
        >>> stability_index([0.5, 0.5], [0.9, 0.1]).round(3).item()
        0.879
    """
    p, q = (np.maximum(np.asarray(of, np.float64), FLOOR) for of in (now, accepted))
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=-1))


def jensen_shannon(p: npt.ArrayLike, q: npt.ArrayLike) -> Numbers:
    """Jensen-Shannon divergence in nats, ``H((p + q) / 2) - (H(p) + H(q)) / 2``.

    Args:
        p: Shares of the bins, shape (..., B).
        q: Other shares, shape (..., B).

    Returns:
        Shape (...); from 0 for equal distributions to ln 2 for disjoint ones.

    Source: Lin (1991), https://doi.org/10.1109/18.61115

    Example:
        >>> jensen_shannon([1.0, 0.0], [0.0, 1.0]).round(4).item()
        0.6931
    """
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    found = _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2
    return np.maximum(found, 0.0)


def first_window(codes: Codes, window: Codes) -> Codes:
    """Earliest window in which each code occurs, shape (largest code + 1,).

    Args:
        codes: What occurred, from 0, shape (n,).
        window: Number of the window in which it did, shape (n,).

    Returns:
        The window; that of a code which never occurs is larger than any.

    Example:
        >>> first_window(np.array([0, 1, 0, 1]), np.array([3, 2, 1, 4])).tolist()
        [1, 2]
    """
    first = np.full(int(codes.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, codes, window)
    return first


def _entropy(shares: Numbers) -> Numbers:
    held = np.where(shares > 0, shares, 1.0)
    return np.asarray(-(shares * np.log(held)).sum(axis=-1))
