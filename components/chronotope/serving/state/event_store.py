"""Event store: events of all users of one lake version, in memory as columns."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.data_version import TableVersion
from chronotope.contracts.event_log import Int32, Int64
from chronotope.contracts.ids import IdMap
from chronotope.inference.history import event_times_us
from chronotope.inference.recent_activity import RECENT, RecentActivity
from chronotope.lake import Lake

_EVENT_COLUMNS = (
    c.USER_ID,
    c.ITEM_ID,
    c.PLACE_ID,
    c.EVENT_TYPE,
    c.OCCURRED_AT,
    c.UTC_OFFSET_MIN,
    c.EVENT_ID,
)
_SORT_COLUMNS = (c.USER_ID, c.OCCURRED_AT, c.EVENT_ID)


@dataclass(frozen=True, slots=True)
class EventStore:
    """Events in the order of training: by user, time, event id. 28 bytes each.

    Attributes:
        version: Version of the event table.
        user_of: Store index of each user id.
        start: First row of each user, shape (n_users + 1,).
        user: Store index of the user, shape (n,).
        item, place, kind: Positions in ``items``, ``places``, ``kinds``, shape (n,).
        occurred_us: UTC microseconds, shape (n,).
        utc_offset_min: Minutes, shape (n,).
        items, places, kinds: Distinct ids and event types.
        excluded_ids: Ids of events that were left out, since a label calls them anomalous.
    """

    version: TableVersion
    user_of: dict[str, int]
    start: Int64
    user: Int32
    item: Int32
    place: Int32
    kind: Int32
    occurred_us: Int64
    utc_offset_min: Int32
    items: pa.StringArray
    places: pa.StringArray
    kinds: pa.StringArray
    excluded_ids: frozenset[str] = frozenset()

    @classmethod
    def read(
        cls,
        lake: Lake,
        excluded_ids: frozenset[str] = frozenset(),
        version: TableVersion | None = None,
        bucket: int | None = None,
    ) -> Self:
        """Read the events of a version of the lake.

        Args:
            lake: The dataset's lake.
            excluded_ids: Ids of events that are nobody's history.
            version: Version of the events; None is the latest.
            bucket: Bucket of users whose events are read; None reads those of all users.
        """
        version = version or lake.table_version("events")
        events = _read_events(lake, version, bucket)
        if excluded_ids:
            excluded_texts = pa.array(sorted(excluded_ids), pa.string())
            is_excluded = pc.is_in(events[c.EVENT_ID].cast(pa.string()), value_set=excluded_texts)
            events = events.filter(pc.invert(is_excluded))
        users = IdMap.of(events[c.USER_ID])
        user_column = pa.array(users.index(events[c.USER_ID]) - 1)
        events = events.set_column(0, c.USER_ID, user_column)
        order = pc.sort_indices(events, sort_keys=[(name, "ascending") for name in _SORT_COLUMNS])
        events = events.drop_columns([c.EVENT_ID]).take(order).combine_chunks()
        user = _to_int32(events[c.USER_ID])
        item, items = _dictionary_encode(events[c.ITEM_ID])
        place, places = _dictionary_encode(events[c.PLACE_ID])
        kind, kinds = _dictionary_encode(events[c.EVENT_TYPE])
        return cls(
            version,
            {user_id: store_idx for store_idx, user_id in enumerate(users.ids.to_pylist())},
            np.searchsorted(user, np.arange(users.size)),
            user,
            item,
            place,
            kind,
            event_times_us(events),
            _to_int32(events[c.UTC_OFFSET_MIN].fill_null(0)),
            items,
            places,
            kinds,
            excluded_ids,
        )

    @property
    def labels_key(self) -> str:
        """Part of the keys of caches; empty while no event is excluded."""
        if not self.excluded_ids:
            return ""
        return f"+labels{hashlib.sha256(','.join(sorted(self.excluded_ids)).encode()).hexdigest()}"

    def user_rows(self, user_id: str) -> slice:
        """Rows of a user's events; empty for a cold-start user."""
        store_idx = self.user_of.get(user_id)
        if store_idx is None:
            return slice(0, 0)
        return slice(int(self.start[store_idx]), int(self.start[store_idx + 1]))

    def recent_activity(
        self, end_time: datetime, item_idx: Int32, n_items: int, *, min_users: int = 1
    ) -> RecentActivity:
        """Events of all users over the last ``RECENT`` before a time.

        Args:
            end_time: End of the window, exclusive.
            item_idx: The model's index of each event's item, shape (n,).
            n_items: Number of the model's indices.
            min_users: Users that an item or a succession of two items needs to be counted.
        """
        end_us = int(end_time.timestamp() * 1_000_000)
        start_us = end_us - int(RECENT.total_seconds()) * 1_000_000
        in_window = (self.occurred_us >= start_us) & (self.occurred_us < end_us)
        return RecentActivity.from_events(
            self.user[in_window], item_idx[in_window], n_items, min_users=min_users
        )


def _read_events(lake: Lake, version: TableVersion, bucket: int | None) -> pa.Table:
    if bucket is None:
        return lake.read("events", version, _EVENT_COLUMNS)
    return lake.bucket_rows(bucket, version).to_table(columns=list(_EVENT_COLUMNS))


def _dictionary_encode(column: pa.ChunkedArray) -> tuple[Int32, pa.StringArray]:
    """Code of each row, -1 for null, and the distinct texts."""
    encoded = column.combine_chunks().cast(pa.string()).dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    return _to_int32(encoded.indices.fill_null(-1)), encoded.dictionary


def _to_int32(column: pa.Array | pa.ChunkedArray) -> Int32:
    return np.asarray(column.to_numpy(), dtype=np.int32)
