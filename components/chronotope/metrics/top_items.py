"""Items of the highest scores of each row of a batch."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Int64
from chronotope.contracts.ids import UNKNOWN

_MIN_BLOCKED: Final = 4_096
"""Catalogues below this are partitioned directly: blocks would save nothing."""


def top_items(item_scores: npt.NDArray[np.floating], k: int) -> Int64:
    """Items of the k highest scores of each row, best first, the unknown excluded.

    The cost is one pass over the scores, bound by memory bandwidth: the k blocks of items whose
    best scores are the highest contain the k best items, and only these blocks are partitioned.

    Args:
        item_scores: Score of every item, shape (B, n_items).
        k: Length of the lists.

    Returns:
        Item indices, shape (B, min(k, n_items - 1)).

    Example:
        >>> top_items(np.array([[9.0, 1.0, 3.0, 2.0]]), 2).tolist()
        [[2, 3]]
    """
    known_scores = item_scores[:, UNKNOWN + 1 :]  # (B, n_items - 1)
    k = min(k, known_scores.shape[1])
    if known_scores.shape[1] < _MIN_BLOCKED:
        return _partitioned(known_scores, k) + UNKNOWN + 1
    block_len = math.isqrt(known_scores.shape[1])
    n_blocks = known_scores.shape[1] // block_len
    blocked, rest = np.split(known_scores, [n_blocks * block_len], axis=1)
    block_best = blocked.reshape(len(blocked), n_blocks, block_len).max(axis=2)
    best_blocks = _partitioned(block_best, min(k, n_blocks))  # (B, k)
    candidates = (best_blocks[:, :, None] * block_len + np.arange(block_len)).reshape(
        len(blocked), -1
    )
    rest_items = np.arange(n_blocks * block_len, known_scores.shape[1])
    candidates = np.hstack([candidates, np.tile(rest_items, (len(rest), 1))])
    candidate_scores = np.take_along_axis(known_scores, candidates, axis=1)
    best = np.take_along_axis(candidates, _partitioned(candidate_scores, k), axis=1)
    return best + UNKNOWN + 1


def _partitioned(scores: npt.NDArray[np.floating], k: int) -> Int64:
    """Columns of the k highest scores of each row, best first, shape (B, k)."""
    columns = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1).astype(np.int64)
