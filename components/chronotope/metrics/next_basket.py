"""Metrics of the whole next basket: how much of it is among the highest-ranked items.

A basket is the set of a user's events at one instant. A user buys most of a basket again, so the
metrics are also reported apart for items that the user had before (repeats) and for new ones.

Source:
    Li et al. (2023), A Next Basket Recommendation Reality Check, ACM TOIS 41(4).
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import EventLog, Float64, Int64
from chronotope.metrics.distinct_items import DistinctItems
from chronotope.metrics.target_spans import TargetSpans
from chronotope.metrics.top_items import top_items

BASKET_METRICS: Final = (
    "basket_recall_10",
    "basket_recall_20",
    "basket_ndcg_10",
    "basket_repeat_recall_10",
    "basket_explore_recall_10",
)
"""Names of the columns that ``basket_metrics`` returns."""

_N_LISTED: Final = 20

MIN_MEAN_EVENTS: Final = 1.2
"""A log has baskets if the baskets of the targets hold this many events on average."""


def mean_basket_size(basket_size: Int64) -> float:
    """Mean number of events of a basket, each basket counted once; NaN without targets.

    Targets are drawn among events, so a basket is drawn as often as it has events.

    Args:
        basket_size: Number of events of each target's basket, shape (n_targets,).
    """
    return float(len(basket_size) / (1.0 / basket_size).sum()) if len(basket_size) else math.nan


def has_baskets(log: EventLog, targets: Int64) -> bool:
    """Whether the baskets of the targets hold more than a single event on average.

    Args:
        log: All events.
        targets: Positions in the log, shape (n_targets,).
    """
    spans = TargetSpans.of(log, targets)
    return mean_basket_size(spans.basket_end - spans.basket_start) >= MIN_MEAN_EVENTS


def basket_metrics(
    item_scores: npt.NDArray[np.floating], basket: DistinctItems, owned: DistinctItems
) -> Float64:
    """Metrics of B baskets, each ranked by one query.

    ``recall_k = |top k & basket| / |basket|``;
    ``ndcg_10 = sum over hits of 1 / log2(1 + rank)``, over that of the best possible list.

    Args:
        item_scores: Score of every item, shape (B, n_items).
        basket: Distinct items of each basket, sorted within it.
        owned: Distinct items that each user had before the basket.

    Returns:
        Columns ``BASKET_METRICS``, shape (B, 5); NaN where a basket has no item of the kind.

    Example:
        >>> basket = DistinctItems(np.array([0, 0]), np.array([1, 3]))
        >>> owned = DistinctItems(np.array([0]), np.array([3]))
        >>> basket_metrics(np.array([[0.0, 5.0, 4.0, 3.0]]), basket, owned).round(2).tolist()
        [[1.0, 1.0, 0.92, 1.0, 1.0]]
    """
    n_baskets, n_items = item_scores.shape
    listed = top_items(item_scores, _N_LISTED)  # (B, k)
    basket_codes = basket.row * n_items + basket.item_idx
    is_repeat = np.zeros(len(basket_codes) + 1, dtype=np.bool_)  # the last one: not in the basket
    is_repeat[_positions(owned.row * n_items + owned.item_idx, basket_codes)] = True
    is_repeat[-1] = False
    listed_at = _positions(np.arange(n_baskets)[:, None] * n_items + listed, basket_codes)
    hits, repeat_hits = listed_at >= 0, is_repeat[listed_at]  # (B, k)
    n_distinct = np.bincount(basket.row, minlength=n_baskets)
    n_repeats = np.bincount(basket.row, is_repeat[:-1], minlength=n_baskets)
    gains = 1.0 / np.log2(np.arange(2, 12))
    best_gain = np.append(0.0, gains.cumsum())[np.minimum(n_distinct, 10)]
    return np.column_stack(
        [
            _share(hits[:, :10].sum(axis=1), n_distinct),
            _share(hits.sum(axis=1), n_distinct),
            _share(hits[:, :10] @ gains[: hits.shape[1]], best_gain),
            _share(repeat_hits[:, :10].sum(axis=1), n_repeats),
            _share((hits & ~repeat_hits)[:, :10].sum(axis=1), n_distinct - n_repeats),
        ]
    )


def _positions(codes: Int64, sorted_codes: Int64) -> Int64:
    """Position of each code among sorted ones, of the shape of ``codes``; -1 if it is not there."""
    positions = np.searchsorted(sorted_codes, codes)
    return np.where(np.append(sorted_codes, -1)[positions] == codes, positions, -1)


def _share(part: npt.NDArray[np.generic], whole: npt.NDArray[np.generic]) -> Float64:
    """Part of a whole; NaN where there is none."""
    shares = np.full(len(part), np.nan)
    np.divide(part, whole, out=shares, where=np.asarray(whole) > 0)
    return shares
