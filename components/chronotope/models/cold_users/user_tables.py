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
    share = n_events / max(1.0, n_events.sum())
    is_start = np.arange(len(log)) - log.user_start() < START_EVENTS
    starts = np.bincount(item_idx[is_start], minlength=n_items)
    start = _lift(starts[None], share, START_SHRINKAGE)[0]
    start[0] = 0.0

    columns = np.argsort(-n_events, kind="stable")[:MAX_ITEMS]  # (N,)
    column_of = np.full(n_items, -1)
    column_of[columns] = np.arange(len(columns))
    counts_of = _GroupCounts(column_of[item_idx], share[columns])
    level_lifts = _level_lifts(log, catalog, counts_of)  # (n_levels, N)
    place_lifts, places = _place_lifts(log, catalog, counts_of)  # (P, N)
    lifts = np.concatenate([level_lifts, place_lifts])
    row_factors, column_factors = _factors(lifts, share[columns])
    item_factors, place_factors = np.zeros((n_items, RANK)), np.zeros((catalog.n_places, RANK))
    item_factors[columns] = column_factors
    place_factors[places] = row_factors[len(level_lifts) :]
    tables = (start, item_factors, row_factors[: len(level_lifts)], place_factors)
    return UserTables(*(torch.from_numpy(table.astype(np.float32)) for table in tables))


class _GroupCounts:
    """Lifts of the popular items in groups of events."""

    def __init__(self, columns: npt.NDArray[np.int64], share: Float64) -> None:
        """Store the column of each event's item, -1 for none, and the share of each column."""
        self.columns, self.share = columns, share

    def lifts(self, groups: npt.NDArray[np.int64], n_groups: int, shrinkage: float) -> Float64:
        """Lift in each group, shape (n_groups, N); an event of a negative group is left out."""
        is_counted = (self.columns >= 0) & (groups >= 0)
        cells = groups[is_counted] * len(self.share) + self.columns[is_counted]
        counts = np.bincount(cells, minlength=n_groups * len(self.share))
        return _lift(counts.reshape(n_groups, len(self.share)), self.share, shrinkage)


def _lift(counts: npt.NDArray[np.integer], share: Float64, shrinkage: float) -> Float64:
    """Log of counts over what the shares let expect, shape (n_groups, N)."""
    expected = counts.sum(1, keepdims=True) * share / max(1e-12, float(share.sum()))
    lift: Float64 = np.log((counts + shrinkage) / (expected + shrinkage))
    return lift


def _level_lifts(log: EventLog, catalog: Catalog, counts_of: _GroupCounts) -> Float64:
    """Lifts of the levels of the user attributes, shape (n_levels, N), row 0 zero."""
    attributes = catalog.user_attributes
    lifts = np.zeros((1 if attributes is None else attributes.n_levels, len(counts_of.share)))
    if attributes is None:
        return lifts
    for column_idx, column in enumerate(attributes.columns):
        levels = attributes.codes[log.user_idx, column_idx].astype(np.int64) - column.first
        rows = slice(column.first, column.first + len(column.levels))
        lifts[rows] = counts_of.lifts(levels, len(column.levels), LEVEL_SHRINKAGE)
    return lifts


def _place_lifts(
    log: EventLog, catalog: Catalog, counts_of: _GroupCounts
) -> tuple[Float64, npt.NDArray[np.int64]]:
    """Lifts of the busiest places, shape (P, N), and their indices; none where items are places."""
    if catalog.items_are_places:
        return np.zeros((0, len(counts_of.share))), np.empty(0, np.int64)
    n_events = np.bincount(log.place_idx, minlength=catalog.n_places)
    n_events[0] = 0
    busiest = np.argsort(-n_events, kind="stable")[:MAX_PLACES]
    places = busiest[n_events[busiest] > 0]
    group_of = np.full(catalog.n_places, -1)
    group_of[places] = np.arange(len(places))
    return counts_of.lifts(group_of[log.place_idx], len(places), PLACE_SHRINKAGE), places


def _factors(lifts: Float64, share: Float64) -> tuple[Float64, Float64]:
    """Factors of rows and columns whose products are the lifts, the popular items' best.

    Args:
        lifts: Shape (R, N).
        share: Share of each column among all events, shape (N,).
    """
    row_factors, column_factors = np.zeros((len(lifts), RANK)), np.zeros((len(share), RANK))
    directions = np.linalg.svd(lifts * np.sqrt(share), full_matrices=False)[0][:, :RANK]
    row_factors[:, : directions.shape[1]] = directions
    column_factors[:, : directions.shape[1]] = lifts.T @ directions
    row_factors[~lifts.any(axis=1)] = 0.0  # exactly: an unknown level changes nothing
    return row_factors, column_factors
