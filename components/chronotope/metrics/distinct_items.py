"""Distinct items of spans of the log, such as histories or baskets."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import EventLog, Int64
from chronotope.contracts.ids import UNKNOWN


class DistinctItems(NamedTuple):
    """Distinct items of B spans of events, as pairs; the unknown item is left out.

    Attributes:
        row: Row of the span in the batch, shape (n_pairs,), increasing.
        item_idx: An item of the span, shape (n_pairs,).
    """

    row: Int64
    item_idx: Int64


def distinct_items(
    log: EventLog,
    first: Int64,
    end: Int64,
    *,
    n_items: int,
    is_first: npt.NDArray[np.bool_] | None = None,
) -> DistinctItems:
    """Distinct items of each span of events.

    Args:
        log: All events.
        first: Position of the first event of each span, shape (B,).
        end: Position after the last event of each span, shape (B,).
        n_items: Size of the catalogue, the unknown included.
        is_first: Whether each event is the first of its user and item, shape (n_events,). Given
            for spans that begin with the first event of a user, it saves sorting them.
    """
    n_events = end - first
    event_row = np.repeat(np.arange(len(first)), n_events)
    offset = np.arange(len(event_row)) - np.repeat(np.cumsum(n_events) - n_events, n_events)
    positions = np.repeat(first, n_events) + offset
    if is_first is None:
        row, item_idx = np.divmod(np.unique(event_row * n_items + log.item_idx[positions]), n_items)
    else:
        is_listed = is_first[positions]
        row, item_idx = event_row[is_listed], log.item_idx[positions[is_listed]].astype(np.int64)
    is_known = item_idx != UNKNOWN
    return DistinctItems(row[is_known], item_idx[is_known])
