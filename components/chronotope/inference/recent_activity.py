"""Recent activity of all users, the source of reasons."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.event_log import Int32, Int64
from chronotope.contracts.ids import UNKNOWN, IdMap
from chronotope.inference.history import without_events
from chronotope.lake import Lake

RECENT = timedelta(days=28)
"""Period of all users' events from which reasons are counted."""


@dataclass(frozen=True, slots=True)
class RecentActivity:
    """Counts over ``RECENT``.

    Attributes:
        counts: Events of each item, shape (n_items,).
        pair_start: Start of each item's successors in ``pair_next``, shape (n_items + 1,).
        pair_next: Items that came right after another, grouped by the earlier one.
        ended_on: UTC day of the end of the period if that is long before the request, because
            nothing is later; None if the period ends with the request.
    """

    counts: Int64
    pair_start: Int64
    pair_next: Int32
    ended_on: date | None = None

    @classmethod
    def from_events(
        cls, user_idx: Int32, item_idx: Int32, n_items: int, *, min_users: int = 1
    ) -> Self:
        """Count events that are ordered by user and time.

        Args:
            user_idx: Index of the user of each event, shape (n,).
            item_idx: Indices of the items, shape (n,).
            n_items: Number of item indices.
            min_users: Users that an item or a succession of two items needs to be counted.
        """
        is_pair = user_idx[1:] == user_idx[:-1]
        earlier_item, next_item = item_idx[:-1][is_pair], item_idx[1:][is_pair]
        if min_users > 1:
            pair_keys = earlier_item.astype(np.int64) * n_items + next_item
            is_shared = _has_users(pair_keys, user_idx[1:][is_pair], min_users)
            earlier_item, next_item = earlier_item[is_shared], next_item[is_shared]
            item_idx = item_idx[_has_users(item_idx, user_idx, min_users)]
        pair_order = np.argsort(earlier_item, kind="stable")
        pair_start = np.searchsorted(earlier_item[pair_order], np.arange(n_items + 1))
        item_counts = np.bincount(item_idx, minlength=n_items)
        return cls(item_counts, pair_start, next_item[pair_order])

    def follows(self, last_idx: int) -> Int32:
        """Successors of an item, one entry for each occurrence; empty for an unknown item."""
        if last_idx == UNKNOWN:
            return self.pair_next[:0]
        return self.pair_next[self.pair_start[last_idx] : self.pair_start[last_idx + 1]]

    def ending(self, end_time: datetime) -> Self:
        """The same activity, marked as that before an instant earlier than the request."""
        return replace(self, ended_on=end_time.astimezone(UTC).date())

    @property
    def is_empty(self) -> bool:
        """Whether the period has no event."""
        return not self.counts.any()


def _has_users(
    keys: npt.NDArray[np.integer], user_idx: Int32, min_users: int
) -> npt.NDArray[np.bool_]:
    """Whether enough users have the key of each event, shape (n,)."""
    distinct_keys, key_codes = np.unique(keys, return_inverse=True)
    key_users = np.unique(np.stack([key_codes.reshape(-1), user_idx]), axis=1)
    n_users = np.bincount(key_users[0], minlength=len(distinct_keys))
    return np.asarray(n_users[key_codes.reshape(-1)] >= min_users)


def utc_midnight(request_time: datetime) -> datetime:
    """UTC midnight before a request; activity is counted until then."""
    return request_time - timedelta(seconds=request_time.timestamp() % 86_400)


def read_recent_activity(
    lake: Lake,
    until: datetime,
    items: IdMap,
    *,
    min_users: int = 1,
    excluded_ids: Collection[str] = (),
) -> RecentActivity:
    """Activity of all users over the last ``RECENT`` before an instant.

    Args:
        lake: The dataset's lake.
        until: End of the period, exclusive.
        items: Ids of the items.
        min_users: Users that an item or a succession of two items needs to be counted.
        excluded_ids: Ids of events that are not counted.
    """
    event_time = pc.field(c.OCCURRED_AT)
    is_recent = (event_time < pa.scalar(until)) & (event_time >= pa.scalar(until - RECENT))
    columns = [c.USER_ID, c.ITEM_ID, c.OCCURRED_AT, c.EVENT_ID]
    events = lake.dataset("events").to_table(columns=columns, filter=is_recent)
    events = without_events(events, excluded_ids).sort_by(
        [(column, "ascending") for column in (c.USER_ID, c.OCCURRED_AT, c.EVENT_ID)]
    )
    user_idx = IdMap.of(events[c.USER_ID]).index(events[c.USER_ID])
    item_idx = items.index(events[c.ITEM_ID])
    return RecentActivity.from_events(user_idx, item_idx, items.size, min_users=min_users)
