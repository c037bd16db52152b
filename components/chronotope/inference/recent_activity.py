"""What everybody did of late, from which reasons are told."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.event_log import Int32, Int64
from chronotope.contracts.ids import UNKNOWN, IdMap
from chronotope.lake import Lake

RECENT = timedelta(days=28)
"""Stretch of the crowd's log from which reasons are told."""


@dataclass(frozen=True, slots=True)
class RecentActivity:
    """Counts over ``RECENT``.

    Attributes:
        counts: Events of each item, shape (n_items,).
        pair_start: Where the followers of each item begin, shape (n_items + 1,).
        pair_next: Items that came right after another, grouped by that other one.
    """

    counts: Int64
    pair_start: Int64
    pair_next: Int32

    @classmethod
    def of(cls, user: Int32, item: Int32, n_items: int) -> Self:
        """Count events that are ordered by user and time.

        Args:
            user: A number for each user, shape (n,).
            item: Indices of the items, shape (n,).
            n_items: Number of item indices.
        """
        same = user[1:] == user[:-1]
        first, then = item[:-1][same], item[1:][same]
        order = np.argsort(first, kind="stable")
        starts = np.searchsorted(first[order], np.arange(n_items + 1))
        return cls(np.bincount(item, minlength=n_items), starts, then[order])

    def follows(self, last_idx: int) -> Int32:
        """What came right after an item, once each time it did; nothing after the unknown."""
        if last_idx == UNKNOWN:
            return self.pair_next[:0]
        return self.pair_next[self.pair_start[last_idx] : self.pair_start[last_idx + 1]]

    @property
    def is_empty(self) -> bool:
        """Whether nobody did anything."""
        return not self.counts.any()


def utc_midnight(at: datetime) -> datetime:
    """The UTC midnight before a moment; a crowd is counted until then."""
    return at - timedelta(seconds=at.timestamp() % 86_400)


def read_recent_activity(lake: Lake, until: datetime, items: IdMap) -> RecentActivity:
    """The crowd over the last ``RECENT`` before a moment.

    Args:
        lake: The dataset's lake.
        until: Nothing at or after it is read.
        items: Ids of the items.
    """
    when = pc.field(c.OCCURRED_AT)
    recent = (when < pa.scalar(until)) & (when >= pa.scalar(until - RECENT))
    names = [c.USER_ID, c.ITEM_ID, c.OCCURRED_AT, c.EVENT_ID]
    rows = lake.dataset("events").to_table(columns=names, filter=recent)
    rows = rows.sort_by([(n, "ascending") for n in (c.USER_ID, c.OCCURRED_AT, c.EVENT_ID)])
    user = IdMap.of(rows[c.USER_ID]).index(rows[c.USER_ID])
    return RecentActivity.of(user, items.index(rows[c.ITEM_ID]), items.size)
