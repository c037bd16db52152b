"""Distinct items of spans of the log, such as histories or baskets."""

from typing import NamedTuple

import numpy as np

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


def distinct_items(log: EventLog, first: Int64, end: Int64, *, n_items: int) -> DistinctItems:
    """Distinct items of each span of events.

    Args:
        log: All events.
        first: Position of the first event of each span, shape (B,).
        end: Position after the last event of each span, shape (B,).
        n_items: Size of the catalogue, the unknown included.
    """
    n_events = end - first
    event_row = np.repeat(np.arange(len(first)), n_events)
    offset = np.arange(len(event_row)) - np.repeat(np.cumsum(n_events) - n_events, n_events)
    positions = np.repeat(first, n_events) + offset
    pairs = np.unique(event_row * n_items + log.item_idx[positions])
    row, item_idx = np.divmod(pairs, n_items)
    is_known = item_idx != UNKNOWN
    return DistinctItems(row[is_known], item_idx[is_known])
