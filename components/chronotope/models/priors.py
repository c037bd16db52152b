"""Global priors: what everybody does, counted from a log.

Priors are state, not parameters. In training the priors beside a target are counted
from the rounds *before* it, or the model would learn to trust counts that contain the
answer.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from chronotope.contracts.eventlog import Catalog, EventLog

WEEK_S = 7 * 86_400
N_HOUR_BINS = 16
"""Eight three-hour bins of a working day, then eight of a weekend day."""


class Priors(NamedTuple):
    """Counts as log(1 + x), float32.

    Attributes:
        popularity: Events of each item, shape (n_items,).
        popularity_week: The same over the last seven days.
        by_hour: Excess of an item in an hour bin, shape (N_HOUR_BINS, n_items).
        next_item: The likeliest successors of each item, int64, shape (n_items, M).
        next_item_log: Their counts, shape (n_items, M).
        next_category: Successions of categories, shape (n_categories, n_categories).
        place_popularity: Events at each place, shape (n_places,).
    """

    popularity: Tensor
    popularity_week: Tensor
    by_hour: Tensor
    next_item: Tensor
    next_item_log: Tensor
    next_category: Tensor
    place_popularity: Tensor


def count_priors(log: EventLog, catalog: Catalog, *, n_successors: int = 32) -> Priors:
    """Count the priors of a log; one pass and one sort, no loop over events."""
    n = catalog.n_items
    popularity = np.bincount(log.item_idx, minlength=n).astype(np.float64)
    end_s = log.occurred_s.max(initial=0)
    recent = log.item_idx[log.occurred_s > end_s - WEEK_S]
    popularity_week = np.bincount(recent, minlength=n)
    next_item, next_log = _successors(log, n, n_successors)
    places = np.bincount(log.place_idx, minlength=catalog.n_places)
    return Priors(
        popularity=_log1p(popularity),
        popularity_week=_log1p(popularity_week),
        by_hour=_hour_profile(log, popularity),
        next_item=torch.from_numpy(next_item),
        next_item_log=_log1p(next_log),
        next_category=_category_successions(log, catalog),
        place_popularity=_log1p(places),
    )


def hour_bin(weekday: Tensor, hour: Tensor) -> Tensor:
    """Bin of the local weekday (Monday = 0) and hour, int64, same shape."""
    return (hour / 3.0).long() + 8 * (weekday >= 5).long()


def _hour_profile(log: EventLog, popularity: np.ndarray) -> Tensor:
    """Log of smoothed lift of each item in each hour bin, shape (N_HOUR_BINS, n_items)."""
    n = len(popularity)
    instant, offset = torch.from_numpy(log.occurred_s), torch.from_numpy(log.utc_offset_min).long()
    local = instant + 60 * offset
    hour = torch.remainder(local, 86_400).float() / 3600.0
    weekday = torch.remainder(torch.div(local, 86_400, rounding_mode="floor") + 3, 7)
    cell = hour_bin(weekday, hour).numpy() * n + log.item_idx
    counts = np.bincount(cell, minlength=N_HOUR_BINS * n).reshape(N_HOUR_BINS, n)
    share = counts.sum(1, keepdims=True) / max(1, len(log))
    lift = (counts + 2.0 * share) / ((popularity + 2.0) * np.maximum(share, 1e-9))
    return torch.from_numpy(np.log(np.maximum(lift, 1e-3)).astype(np.float32))


def _successors(log: EventLog, n: int, n_successors: int) -> tuple[np.ndarray, np.ndarray]:
    """Top successors and counts, both of shape (n, n_successors)."""
    follows = log.user_idx[1:] == log.user_idx[:-1]
    follows &= log.occurred_s[1:] > log.occurred_s[:-1]
    source, target = log.item_idx[:-1][follows], log.item_idx[1:][follows]
    counts = sparse.csr_matrix((np.ones(len(source)), (source, target)), shape=(n, n))
    counts.sum_duplicates()
    row = np.repeat(np.arange(n), np.diff(counts.indptr))
    order = np.lexsort((-counts.data, row))
    rank = np.arange(counts.nnz) - counts.indptr[row]
    kept = rank < n_successors
    items = np.zeros((n, n_successors), dtype=np.int64)
    values = np.zeros((n, n_successors))
    items[row[kept], rank[kept]] = counts.indices[order][kept]
    values[row[kept], rank[kept]] = counts.data[order][kept]
    return items, values


def _category_successions(log: EventLog, catalog: Catalog) -> Tensor:
    n = catalog.categories.size
    follows = log.user_idx[1:] == log.user_idx[:-1]
    category = catalog.item_category[log.item_idx].astype(np.int64)
    cell = category[:-1][follows] * n + category[1:][follows]
    return _log1p(np.bincount(cell, minlength=n * n).reshape(n, n))


def _log1p(counts: np.ndarray) -> Tensor:
    return torch.from_numpy(np.log1p(counts).astype(np.float32))
