"""Divergences between two distributions, and the first window of each code.

Divergences are computed along the last axis, so that many windows are compared at once.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

FLOOR: Final = 1e-4
"""Minimum share of a bin in the stability index, which would be infinite for an empty bin."""


def stability_index(current_shares: npt.ArrayLike, accepted_shares: npt.ArrayLike) -> Numbers:
    """Population stability index, ``sum_b (p_b - q_b) ln(p_b / q_b)``.

    Args:
        current_shares: Shares p of the bins, shape (..., B); smaller ones are set to ``FLOOR``.
        accepted_shares: Shares q of the reference distribution, shape (..., B), with the same
            minimum.

    Returns:
        Index, 0 for equal distributions, shape (...).

    Example:
        >>> stability_index([0.5, 0.5], [0.9, 0.1]).round(3).item()
        0.879
    """
    p, q = (
        np.maximum(np.asarray(bin_shares, np.float64), FLOOR)
        for bin_shares in (current_shares, accepted_shares)
    )
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=-1))


def jensen_shannon(p: npt.ArrayLike, q: npt.ArrayLike) -> Numbers:
    """Jensen-Shannon divergence in nats, ``H((p + q) / 2) - (H(p) + H(q)) / 2``.

    Args:
        p: Shares of the bins in one distribution, shape (..., B).
        q: Shares in the other distribution, shape (..., B).

    Returns:
        Divergence, from 0 for equal distributions to ln 2 for disjoint ones, shape (...).

    Source: Lin (1991), https://doi.org/10.1109/18.61115

    Example:
        >>> jensen_shannon([1.0, 0.0], [0.0, 1.0]).round(4).item()
        0.6931
    """
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    divergence = _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2
    return np.maximum(divergence, 0.0)


def first_window(event_codes: Codes, window_numbers: Codes) -> Codes:
    """Earliest window in which each code, such as an item or user, occurs.

    Args:
        event_codes: Code of each event, at least 0, shape (n,).
        window_numbers: Window of each event, shape (n,).

    Returns:
        Window by code, shape (max code + 1,); the largest integer for codes that never occur.

    Example:
        >>> first_window(np.array([0, 1, 0, 1]), np.array([3, 2, 1, 4])).tolist()
        [1, 2]
    """
    first_windows = np.full(int(event_codes.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first_windows, event_codes, window_numbers)
    return first_windows


def _entropy(bin_shares: Numbers) -> Numbers:
    positive_shares = np.where(bin_shares > 0, bin_shares, 1.0)
    return np.asarray(-(bin_shares * np.log(positive_shares)).sum(axis=-1))
