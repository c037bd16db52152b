"""Tables of the user head: what users start with, and what users of a level or at a place choose.

A lift compares the events of a group with those of all users,

    lift_gi = log( (n_gi + s) / (n_g p_i + s) )

with p_i the share of item i among all events and s a number of events that shrinks it to 0 where
there is little to count. The lifts of levels and places are stored as their strongest ``RANK``
directions.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chronotope.contracts.event_log import Catalog, EventLog, Float64
from chronotope.models.cold_users.user_head import RANK, UserHead

START_EVENTS = 10
"""First events of a user that count as a start."""

MAX_ITEMS = 5_000
"""Most popular items that have lifts; those of others are 0."""

MAX_PLACES = 500
"""Busiest places that have lifts; those of others are 0."""

START_SHRINKAGE = 1.0
LEVEL_SHRINKAGE = 20.0
PLACE_SHRINKAGE = 10.0


class UserTables(NamedTuple):
    """Tables of the user head.

    Attributes:
        start: Lift of each item among the first events of users, shape (n_items,).
        item_factors: Shape (n_items, RANK).
        level_factors: Factors of the levels of the user attributes, shape (n_levels, RANK).
        place_factors: Factors of the places, shape (n_places, RANK).
    """

    start: Tensor
    item_factors: Tensor
    level_factors: Tensor
    place_factors: Tensor

    def write_to(self, head: UserHead) -> None:
        """Replace the tables of a head."""
        for name, table in self._asdict().items():
            getattr(head, name).copy_(table)


def count_user_tables(log: EventLog, catalog: Catalog) -> UserTables:
    """Count the tables of a log.

    Args:
        log: All events.
        catalog: Attributes of its users, and its places.
    """
    n_items, item_idx = catalog.n_items, log.item_idx.astype(np.int64)
    n_events = np.bincount(item_idx, minlength=n_items).astype(np.float64)
    item_share = n_events / max(1.0, n_events.sum())
    is_start = np.arange(len(log)) - log.user_start() < START_EVENTS
    start_counts = np.bincount(item_idx[is_start], minlength=n_items)
    start = _log_lift(start_counts[None], item_share, START_SHRINKAGE)[0]
    start[0] = 0.0

    columns = np.argsort(-n_events, kind="stable")[:MAX_ITEMS]  # (N,)
    column_of = np.full(n_items, -1)
    column_of[columns] = np.arange(len(columns))
    counts_of = _GroupCounts(column_of[item_idx], item_share[columns])
    level_lifts = _level_lifts(log, catalog, counts_of)  # (n_levels, N)
    place_lifts, place_idx = _place_lifts(log, catalog, counts_of)  # (P, N)
    group_lifts = np.concatenate([level_lifts, place_lifts])
    row_factors, column_factors = _factors(group_lifts, item_share[columns])
    item_factors, place_factors = np.zeros((n_items, RANK)), np.zeros((catalog.n_places, RANK))
    item_factors[columns] = column_factors
    place_factors[place_idx] = row_factors[len(level_lifts) :]
    table_arrays = (start, item_factors, row_factors[: len(level_lifts)], place_factors)
    return UserTables(*(torch.from_numpy(table.astype(np.float32)) for table in table_arrays))


class _GroupCounts:
    """Lifts of the popular items in groups of events."""

    def __init__(self, columns: npt.NDArray[np.int64], item_share: Float64) -> None:
        """Store the column of each event's item, -1 for none, and the share of each column."""
        self.columns, self.item_share = columns, item_share

    def group_lifts(
        self, group_idx: npt.NDArray[np.int64], n_groups: int, shrinkage_events: float
    ) -> Float64:
        """Lift in each group, shape (n_groups, N); an event of a negative group is left out."""
        is_counted = (self.columns >= 0) & (group_idx >= 0)
        cell_idx = group_idx[is_counted] * len(self.item_share) + self.columns[is_counted]
        group_counts = np.bincount(cell_idx, minlength=n_groups * len(self.item_share))
        return _log_lift(
            group_counts.reshape(n_groups, len(self.item_share)), self.item_share, shrinkage_events
        )


def _log_lift(
    group_counts: npt.NDArray[np.integer], item_share: Float64, shrinkage_events: float
) -> Float64:
    """Log of counts over what the shares let expect, shape (n_groups, N)."""
    expected_counts = (
        group_counts.sum(1, keepdims=True) * item_share / max(1e-12, float(item_share.sum()))
    )
    log_lift: Float64 = np.log(
        (group_counts + shrinkage_events) / (expected_counts + shrinkage_events)
    )
    return log_lift


def _level_lifts(log: EventLog, catalog: Catalog, counts_of: _GroupCounts) -> Float64:
    """Lifts of the levels of the user attributes, shape (n_levels, N), row 0 zero."""
    attributes = catalog.user_attributes
    group_lifts = np.zeros(
        (1 if attributes is None else attributes.n_levels, len(counts_of.item_share))
    )
    if attributes is None:
        return group_lifts
    for column_idx, column in enumerate(attributes.columns):
        level_idx = attributes.codes[log.user_idx, column_idx].astype(np.int64) - column.first
        rows = slice(column.first, column.first + len(column.levels))
        group_lifts[rows] = counts_of.group_lifts(level_idx, len(column.levels), LEVEL_SHRINKAGE)
    return group_lifts


def _place_lifts(
    log: EventLog, catalog: Catalog, counts_of: _GroupCounts
) -> tuple[Float64, npt.NDArray[np.int64]]:
    """Lifts of the busiest places, shape (P, N), and their indices; none where items are places."""
    if catalog.items_are_places:
        return np.zeros((0, len(counts_of.item_share))), np.empty(0, np.int64)
    n_events = np.bincount(log.place_idx, minlength=catalog.n_places)
    n_events[0] = 0
    busiest_places = np.argsort(-n_events, kind="stable")[:MAX_PLACES]
    place_idx = busiest_places[n_events[busiest_places] > 0]
    group_of = np.full(catalog.n_places, -1)
    group_of[place_idx] = np.arange(len(place_idx))
    return counts_of.group_lifts(
        group_of[log.place_idx], len(place_idx), PLACE_SHRINKAGE
    ), place_idx


def _factors(group_lifts: Float64, item_share: Float64) -> tuple[Float64, Float64]:
    """Factors of rows and columns whose products are the lifts, the popular items' best.

    Args:
        group_lifts: Shape (R, N).
        item_share: Share of each column among all events, shape (N,).
    """
    row_factors, column_factors = (
        np.zeros((len(group_lifts), RANK)),
        np.zeros((len(item_share), RANK)),
    )
    row_directions = np.linalg.svd(group_lifts * np.sqrt(item_share), full_matrices=False)[0][
        :, :RANK
    ]
    row_factors[:, : row_directions.shape[1]] = row_directions
    column_factors[:, : row_directions.shape[1]] = group_lifts.T @ row_directions
    row_factors[~group_lifts.any(axis=1)] = 0.0  # exactly: an unknown level changes nothing
    return row_factors, column_factors
