"""Lift of each item while its item context differs from the defaults, counted over all users.

    lift(i, s) = log (n(i, s) + k g(s)) / (e(i, s) + k)  -  the same of s = 0

n(i, s) counts the events of item i in state s, the number of its columns that differ from their
defaults, and e(i, s) those expected there if the item sold alike in all states: its share of the
events of the places that sell it. g(s) is the ratio of the sums over all items, to which an item
with few events is shrunk. So an item that is bought at full price as often has no lift, and one
that is bought on promotion alone has a large one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.ids import UNKNOWN
from chronotope.contracts.item_context import ItemContext

MAX_STATES: Final = 3
"""States besides the default one; with more columns the last one means "so many or more"."""

SHRINKAGE: Final = 10.0
"""Weight of the lift of all items, in expected events."""

MAX_PERIODS: Final = 8_192
"""Periods of constant item context that are counted; of more, so many are drawn."""

_Counts = npt.NDArray[np.float64]


def n_states(catalog: Catalog) -> int:
    """States of the items of a catalogue besides the default one; 0 without item context."""
    return min(len(catalog.item_context), MAX_STATES)


def count_context_lift(log: EventLog, catalog: Catalog) -> npt.NDArray[np.float32]:
    """Lift of every item in every state but the default one, shape (n_items, n_states).

    Args:
        log: All events before the moment, with the item context.
        catalog: Number of items and columns.
    """
    states = n_states(catalog)
    if states == 0 or log.item_context is None or not len(log):
        return np.zeros((catalog.n_items, states), np.float32)
    events, expected = _count(log, log.item_context, catalog.n_items, states)
    ratio = (events.sum(1) + 1.0) / (expected.sum(1) + 1.0)  # (1 + n_states,)
    lift = np.log((events + SHRINKAGE * ratio[:, None]) / (expected + SHRINKAGE))
    return np.ascontiguousarray((lift[1:] - lift[:1]).T, np.float32)


def _count(
    log: EventLog, item_context: ItemContext, n_items: int, states: int
) -> tuple[_Counts, _Counts]:
    """Events, and expected events, by state and item, each (1 + states, n_items)."""
    events, exposure = np.zeros((1 + states, n_items)), np.zeros((1 + states, n_items))
    exposure_everywhere = np.zeros(n_items)
    event_order = np.lexsort((log.occurred_s, log.place_idx))
    item_state, is_sold = np.zeros(n_items, np.int8), np.zeros(n_items, np.bool_)
    place = -1
    for period in _periods(log, item_context, event_order):
        if period.place_idx != place:
            place = period.place_idx
            is_sold[:] = False
            is_sold[log.item_idx[event_order[period.of_place]]] = True
        period_items = log.item_idx[event_order[period.events]]
        row_items, row_levels = item_context.rows_at(place, period.moment_s)
        row_state = np.minimum((row_levels > 0).sum(1), states).astype(np.int8)
        item_state[row_items] = row_state
        np.add.at(events, (item_state[period_items], period_items), 1.0)
        item_state[row_items] = 0
        is_sold_here = is_sold[row_items]
        exposure[row_state[is_sold_here], row_items[is_sold_here]] += len(period_items)
        exposure_everywhere[is_sold] += len(period_items)
    exposure[0] = exposure_everywhere - exposure[1:].sum(0)
    rate = events.sum(0) / np.maximum(exposure_everywhere, 1.0)  # (n_items,)
    return events, rate * exposure


@dataclass(frozen=True, slots=True)
class _Period:
    """Events of one place between two changes of its rows.

    Attributes:
        place_idx: The place.
        moment_s: A moment of the period, UTC seconds.
        events: Slice of the events, ordered by place and time.
        of_place: Slice of all events of the place.
    """

    place_idx: int
    moment_s: int
    events: slice
    of_place: slice


def _periods(
    log: EventLog, item_context: ItemContext, order: npt.NDArray[np.int64]
) -> Iterator[_Period]:
    """Periods with events, by place, then time; a sample where there are many.

    Args:
        log: The events.
        item_context: Index of the rows.
        order: Positions of the events by place, then time, shape (n_events,).
    """
    seconds, places = log.occurred_s[order], log.place_idx[order]
    everywhere = item_context.changes_s(UNKNOWN)
    place_bounds = [*np.flatnonzero(np.diff(places, prepend=-1)), len(order)]
    periods: list[_Period] = []
    for first, end in pairwise(place_bounds):
        place = int(places[first])
        changes_s = everywhere if place == UNKNOWN else item_context.changes_s(place)
        if place != UNKNOWN and len(everywhere):
            changes_s = np.union1d(changes_s, everywhere)
        number = np.searchsorted(changes_s, seconds[first:end], side="right")
        bounds = first + np.append(np.flatnonzero(np.diff(number, prepend=-1)), end - first)
        periods += [
            _Period(place, int(seconds[start]), slice(start, stop), slice(first, end))
            for start, stop in pairwise(bounds)
        ]
    if len(periods) > MAX_PERIODS:
        drawn = np.random.default_rng(0).choice(len(periods), MAX_PERIODS, replace=False)
        periods = [periods[number] for number in np.sort(drawn)]
    yield from periods
