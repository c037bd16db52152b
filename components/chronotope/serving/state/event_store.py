"""Everybody's events of one version of the lake, in memory as columns."""

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

_COLUMNS = (
    c.USER_ID,
    c.ITEM_ID,
    c.PLACE_ID,
    c.EVENT_TYPE,
    c.OCCURRED_AT,
    c.UTC_OFFSET_MIN,
    c.EVENT_ID,
)
_ORDER = (c.USER_ID, c.OCCURRED_AT, c.EVENT_ID)


@dataclass(frozen=True, slots=True)
class EventStore:
    """Events ordered as training orders them: by user, instant, event id. 28 bytes each.

    Attributes:
        version: Version of the event table.
        user_of: Number of each known user.
        start: Where each user's events begin, shape (n_users + 1,).
        user: Number of the user, shape (n,).
        item, place, kind: Positions in ``items``, ``places``, ``kinds``, shape (n,).
        occurred_us: UTC microseconds, shape (n,).
        utc_offset_min: Minutes, shape (n,).
        items, places, kinds: The texts.
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

    @classmethod
    def read(cls, lake: Lake) -> Self:
        """All events of the lake's latest version."""
        version = lake.table_version("events")
        rows = lake.read("events", version, _COLUMNS)
        users = IdMap.of(rows[c.USER_ID])
        rows = rows.set_column(0, c.USER_ID, pa.array(users.index(rows[c.USER_ID]) - 1))
        order = pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in _ORDER])
        rows = rows.drop_columns([c.EVENT_ID]).take(order).combine_chunks()
        user = _numbers(rows[c.USER_ID])
        item, items = _coded(rows[c.ITEM_ID])
        place, places = _coded(rows[c.PLACE_ID])
        kind, kinds = _coded(rows[c.EVENT_TYPE])
        return cls(
            version,
            {name: n for n, name in enumerate(users.ids.to_pylist())},
            np.searchsorted(user, np.arange(users.size)),
            user,
            item,
            place,
            kind,
            event_times_us(rows),
            _numbers(rows[c.UTC_OFFSET_MIN].fill_null(0)),
            items,
            places,
            kinds,
        )

    def rows_of(self, user_id: str) -> slice:
        """Where a user's events lie; empty for a stranger."""
        number = self.user_of.get(user_id)
        if number is None:
            return slice(0, 0)
        return slice(int(self.start[number]), int(self.start[number + 1]))

    def crowd(self, until: datetime, item_idx: Int32, n_items: int) -> RecentActivity:
        """What everybody did over the last ``RECENT`` before a moment.

        Args:
            until: The moment.
            item_idx: The model's index of each event's item, shape (n,).
            n_items: Number of the model's indices.
        """
        end_us = int(until.timestamp() * 1_000_000)
        start_us = end_us - int(RECENT.total_seconds()) * 1_000_000
        rows = (self.occurred_us >= start_us) & (self.occurred_us < end_us)
        return RecentActivity.of(self.user[rows], item_idx[rows], n_items)


def _coded(column: pa.ChunkedArray) -> tuple[Int32, pa.StringArray]:
    """Positions of each row's text in an array of distinct texts; -1 for null."""
    coded = column.combine_chunks().cast(pa.string()).dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    return _numbers(coded.indices.fill_null(-1)), coded.dictionary


def _numbers(column: pa.Array | pa.ChunkedArray) -> Int32:
    return np.asarray(column.to_numpy(), dtype=np.int32)
