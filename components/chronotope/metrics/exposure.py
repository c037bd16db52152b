"""Exposure of items in recommended lists: tail share, concentration, popularity lift.

A position r of a list has the exposure 1 / log2(1 + r), r from 1, as in NDCG. The *tail* are all
known items but the fifth with the most events.

Sources: Singh and Joachims (2018), *Fairness of exposure in rankings*; Abdollahpouri et al. (2019),
*The unfairness of popularity bias in recommendation*, for the popularity lift.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Float64, Int64
from chronotope.contracts.ids import UNKNOWN
from chronotope.metrics.diversity import gini
from chronotope.metrics.significance import Interval, bootstrap_interval

HEAD_SHARE = 0.2
"""Share of the known items, those with the most events, that are not in the tail."""

N_GROUPS = 10
"""Groups of equally many items by popularity."""


@dataclass(frozen=True, slots=True)
class ListExposure:
    """Exposure in the lists of a set of targets.

    Attributes:
        tail_share: Share of the exposure that items of the tail have.
        tail_demand: Share of the targets that are items of the tail.
        gap: ``tail_demand - tail_share``; 0 if lists show the tail as often as users choose it.
        gini: Gini coefficient of the items' exposure, over all known items.
        coverage: Share of the known items that are in some list.
        popularity_lift: Mean events of the listed items over that of the targets, minus 1.
        group_shares: Exposure of tenths of the items, the most popular first, shape (N_GROUPS,).
        group_demand: Shares of the targets by the same groups.
    """

    tail_share: Interval
    tail_demand: Interval
    gap: Interval
    gini: float
    coverage: float
    popularity_lift: float
    group_shares: tuple[float, ...]
    group_demand: tuple[float, ...]


def tail_items(n_events: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Whether each item is in the tail, bool, shape (n_items,); the unknown is not.

    Args:
        n_events: Events of each item, shape (n_items,); ties go by index.

    Example:
        >>> tail_items(np.array([0, 9, 1, 1, 1, 1])).tolist()
        [False, False, True, True, True, True]
    """
    is_tail = _popularity_group(n_events, 100) >= 100 * HEAD_SHARE
    is_tail[UNKNOWN] = False
    return is_tail


def list_exposure(
    lists: Int64,
    target_items: npt.NDArray[np.integer],
    user_idx: npt.NDArray[np.integer],
    n_events: npt.NDArray[np.integer],
) -> ListExposure:
    """Exposure in the lists that were computed for targets.

    Args:
        lists: Items of each target's list, best first, shape (n_targets, k).
        target_items: True item of each target, shape (n_targets,).
        user_idx: User of each target; intervals resample users, shape (n_targets,).
        n_events: Events of each item before the targets, shape (n_items,).
    """
    is_tail, group_of = tail_items(n_events), _popularity_group(n_events, N_GROUPS)
    weight = position_weights(lists.shape[1])  # (k,)
    shares = is_tail[lists] @ weight  # (n_targets,)
    demand = is_tail[target_items].astype(np.float64)
    all_weights = np.tile(weight, len(lists))
    item_exposure = np.bincount(lists.ravel(), all_weights, minlength=len(n_events))
    popularity = n_events.astype(np.float64)
    target_popularity = max(float(popularity[target_items].mean()), 1e-12)
    return ListExposure(
        tail_share=bootstrap_interval(shares, user_idx),
        tail_demand=bootstrap_interval(demand, user_idx),
        gap=bootstrap_interval(demand - shares, user_idx),
        gini=gini(item_exposure[UNKNOWN + 1 :]),
        coverage=float((item_exposure[UNKNOWN + 1 :] > 0).mean()),
        popularity_lift=float((popularity[lists] @ weight).mean()) / target_popularity - 1.0,
        group_shares=_group_shares(group_of[lists.ravel()], all_weights),
        group_demand=_group_shares(group_of[target_items], np.ones(len(target_items))),
    )


def position_weights(k: int) -> Float64:
    """Exposure of each position of a list, shares that sum to 1, shape (k,)."""
    weights = 1.0 / np.log2(np.arange(2, k + 2))
    normalised: Float64 = weights / weights.sum()
    return normalised


def _popularity_group(n_events: npt.NDArray[np.integer], n_groups: int) -> Int64:
    """Group of each item, 0 of the most popular known ones, shape (n_items,)."""
    known_order = UNKNOWN + 1 + np.argsort(-n_events[UNKNOWN + 1 :], kind="stable")
    group_of = np.full(len(n_events), n_groups - 1, dtype=np.int64)
    group_of[known_order] = np.arange(len(known_order)) * n_groups // max(1, len(known_order))
    return group_of


def _group_shares(group_idx: Int64, weights: Float64) -> tuple[float, ...]:
    totals = np.bincount(group_idx, weights, minlength=N_GROUPS)
    return tuple((totals / max(totals.sum(), 1e-12)).tolist())
