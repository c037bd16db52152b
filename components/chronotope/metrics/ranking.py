"""Rank of the target among all items: exact, over the full catalogue, fair to ties."""

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import Float64
from chronotope.contracts.ids import UNKNOWN


def expected_rank(scores: npt.NDArray[np.floating], target: npt.NDArray[np.integer]) -> Float64:
    """Rank of each target when equal scores are ordered at random, in expectation.

    ``rank = #{s > s*} + (#{s = s*} + 1) / 2`` over the items, the target included and
    the unknown (column 0) excluded. A constant score gives the middle of the catalogue,
    not the top, so a model cannot win by refusing to choose.

    Args:
        scores: Score of every item, shape (B, n_items); higher is likelier.
        target: Index of the true item, shape (B,), in 1 .. n_items - 1.

    Returns:
        Ranks from 1 (best) to n_items - 1, shape (B,).

    Raises:
        DataError: A score is NaN, or a target is not an item of the catalogue.

    Example:
        >>> expected_rank(np.array([[9.0, 3.0, 1.0, 1.0]]), np.array([2])).tolist()
        [2.5]
    """
    scores, target = np.asarray(scores), np.asarray(target)
    _check(scores, target)
    items = scores[:, UNKNOWN + 1 :]
    own = scores[np.arange(len(target)), target][:, None]  # (B, 1)
    above = np.count_nonzero(items > own, axis=1)
    equal = np.count_nonzero(items == own, axis=1)
    return np.asarray(above + (equal + 1) / 2, dtype=np.float64)


def _check(scores: npt.NDArray[np.floating], target: npt.NDArray[np.integer]) -> None:
    if scores.ndim != 2 or target.shape != scores.shape[:1]:
        raise DataError(
            "Scores must have shape (B, n_items) and targets shape (B,)",
            received=f"{scores.shape} and {target.shape}",
        )
    if len(target) == 0:
        return
    if np.isnan(scores).any():
        raise DataError(
            "A score is NaN, so items cannot be ranked",
            received=f"{int(np.isnan(scores).sum())} NaN of {scores.size} scores",
            way_out="Let the model give -inf to items it rules out",
        )
    if target.min() <= UNKNOWN or target.max() >= scores.shape[1]:
        raise DataError(
            f"Targets must be item indices in 1 .. {scores.shape[1] - 1}",
            received=f"{target.min()} .. {target.max()}",
            way_out="Score the whole catalogue and leave unknown items out of the targets",
        )
