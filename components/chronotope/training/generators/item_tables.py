"""Counts of items over all users, from which a new user's new items are drawn."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.spacetime.clock import local_hour
from chronotope.spacetime.distances import haversine_km

_N_NEAR: Final = 32
_NEAR_KM: Final = 1.5
_BLOCK_ROWS: Final = 512
_HOUR_SMOOTHING: Final = 20.0
_WEEK_S: Final = 604_800
_N_TOGETHER: Final = 5
_MIN_RARE: Final = 50


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """Shares of items, each over the items that enough users had.

    Attributes:
        hourly: Cumulative popularity by local hour of the day, shape (24, n_items).
        weekly: The same by week of the log, shape (n_weeks, n_items).
        first_s: Start of the first week, UTC seconds.
        transitions: Shares of the next item by the last one, shape (n_items, n_items).
        together: Shares of the items within five events of an item, shape (n_items, n_items).
        near_items, near_share: Items near each item, and their shares, shape (n_items, 32); no
            columns without coordinates.
        is_kept: Whether enough users had an item, shape (n_items,).
    """

    hourly: Float64
    weekly: Float64
    first_s: int
    transitions: sparse.csr_matrix
    together: sparse.csr_matrix
    near_items: Int64
    near_share: Float64
    is_kept: npt.NDArray[np.bool_]

    def week_of(self, occurred_s: int) -> int:
        """Row of ``weekly`` of a moment."""
        return min(max((occurred_s - self.first_s) // _WEEK_S, 0), len(self.weekly) - 1)


def count_items(log: EventLog, catalog: Catalog, *, min_users: int) -> ItemCounts:
    """Tables of a log.

    Args:
        log: The log.
        catalog: Coordinates of the items.
        min_users: Transitions of fewer users are left out, and items of fewer users are equally
            likely.
    """
    n_items = catalog.n_items
    is_kept = users_of(log.user_idx, log.item_idx.astype(np.int64), n_items) >= min_users
    is_kept[0] = False
    local_hours = local_hour(log.occurred_s, log.utc_offset_min).astype(np.int64)
    event_counts = np.zeros((24, n_items))
    np.add.at(event_counts, (local_hours, log.item_idx), 1.0)
    event_counts = _share_rare(event_counts, is_kept)
    # neighbouring hours and all hours make up for rare ones
    smoothed = event_counts + 0.5 * (
        np.roll(event_counts, 1, axis=0) + np.roll(event_counts, -1, axis=0)
    )
    popularity = event_counts.sum(axis=0)
    smoothed += _HOUR_SMOOTHING * popularity / max(popularity.sum(), 1.0)
    near_items, near_share = _near_tables(catalog, popularity)
    first_s = int(log.occurred_s.min())
    weeks = (log.occurred_s - first_s) // _WEEK_S
    weekly = _weekly_counts(log, weeks, n_items, min_users)
    weekly += 0.5 * popularity / max(popularity.sum(), 1.0)
    steps = range(1, _N_TOGETHER + 1)
    return ItemCounts(
        hourly=_cumulative_shares(smoothed),
        weekly=_cumulative_shares(weekly),
        first_s=first_s,
        transitions=pair_shares(log, n_items, is_kept, min_users, steps=(1,), both_ways=False),
        together=pair_shares(log, n_items, is_kept, min_users, steps=steps, both_ways=True),
        near_items=near_items,
        near_share=near_share,
        is_kept=is_kept,
    )


def _share_rare(event_counts: Float64, is_kept: npt.NDArray[np.bool_]) -> Float64:
    """Counts in which all rare items are equally frequent, so that none tells who was there.

    Few rare items would tell nevertheless: then they have none.
    """
    is_rare = ~is_kept
    is_rare[0] = False
    n_rare = int(is_rare.sum())
    shared_counts = event_counts * is_kept
    if n_rare >= _MIN_RARE:
        shared_counts[:, is_rare] = event_counts[:, is_rare].sum(axis=1, keepdims=True) / n_rare
    return shared_counts


def users_of(user_idx: npt.NDArray[np.integer], keys: Int64, n_keys: int) -> npt.NDArray[np.int64]:
    """Number of distinct users of each key, shape (n_keys,)."""
    pair_keys = np.unique(np.stack([keys, user_idx.astype(np.int64)]), axis=1)
    return np.bincount(pair_keys[0], minlength=n_keys)


def _cumulative_shares(event_counts: Float64) -> Float64:
    """Cumulative shares of each row."""
    cumulative_share = np.cumsum(event_counts, axis=1)
    shares: Float64 = cumulative_share / np.maximum(cumulative_share[:, -1:], 1e-12)
    return shares


def _weekly_counts(log: EventLog, weeks: Int64, n_items: int, min_users: int) -> Float64:
    """Events of each item in each week, where enough users had it, shape (n_weeks, n_items)."""
    n_weeks = int(weeks.max()) + 1
    keys = weeks * n_items + log.item_idx
    present, key_row = np.unique(keys, return_inverse=True)
    is_shared = users_of(log.user_idx, key_row.astype(np.int64), len(present)) >= min_users
    event_counts = np.zeros(n_weeks * n_items)
    event_counts[present] = np.bincount(key_row) * is_shared
    return event_counts.reshape(n_weeks, n_items)


def pair_shares(
    log: EventLog,
    n_items: int,
    is_kept: npt.NDArray[np.bool_],
    min_users: int,
    *,
    steps: Iterable[int],
    both_ways: bool,
) -> sparse.csr_matrix:
    """Shares of the items a number of events after an item, of pairs that enough users made."""
    user_starts, item_idx = log.user_start(), log.item_idx.astype(np.int64)
    before_blocks, after_blocks, user_blocks = [], [], []
    for step_idx in steps:
        event_rows = np.flatnonzero(np.arange(len(log)) - step_idx >= user_starts)
        pair = (item_idx[event_rows - step_idx], item_idx[event_rows])
        for item_before, item_after in (pair, pair[::-1]) if both_ways else (pair,):
            before_blocks.append(item_before)
            after_blocks.append(item_after)
            user_blocks.append(log.user_idx[event_rows])
    item_before, item_after = np.concatenate(before_blocks), np.concatenate(after_blocks)
    is_valid = is_kept[item_before] & is_kept[item_after] & (item_before != item_after)
    keys = (item_before * n_items + item_after)[is_valid]
    user_list = np.concatenate(user_blocks)[is_valid]
    pair_keys, pair_row, n_times = np.unique(keys, return_inverse=True, return_counts=True)
    is_shared = users_of(user_list, pair_row.astype(np.int64), len(pair_keys)) >= min_users
    pair_keys, n_times = pair_keys[is_shared], n_times[is_shared]
    matrix = sparse.csr_matrix(
        (n_times.astype(np.float64), (pair_keys // n_items, pair_keys % n_items)),
        shape=(n_items, n_items),
    )
    totals = np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1.0)
    return sparse.diags_array(1.0 / totals).tocsr() @ matrix


def _near_tables(catalog: Catalog, popularity: Float64) -> tuple[Int64, Float64]:
    """The likeliest items around each item, and their shares, by popularity and distance."""
    n_items, lat_deg, lon_deg = catalog.n_items, catalog.item_lat, catalog.item_lon
    if not np.isfinite(lat_deg[1:]).all() or n_items <= _N_NEAR:
        return np.empty((n_items, 0), np.int64), np.empty((n_items, 0))
    near_items = np.zeros((n_items, _N_NEAR), np.int64)
    near_share = np.zeros((n_items, _N_NEAR))
    for start in range(1, n_items, _BLOCK_ROWS):
        event_rows = slice(start, min(start + _BLOCK_ROWS, n_items))
        km = haversine_km(
            lat=lat_deg[event_rows, None],
            lon=lon_deg[event_rows, None],
            to_lat=lat_deg[1:],
            to_lon=lon_deg[1:],
        )
        weights = popularity[1:] * np.exp(-km / _NEAR_KM)
        best = np.argpartition(-weights, _N_NEAR - 1, axis=1)[:, :_N_NEAR]
        best_weights = np.take_along_axis(weights, best, axis=1)
        near_items[event_rows] = best + 1
        near_share[event_rows] = best_weights / np.maximum(
            best_weights.sum(1, keepdims=True), 1e-12
        )
    return near_items, near_share
