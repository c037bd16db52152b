"""A user's history before the request time, and the query made of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.artifact.bundle import Vocabulary
from chronotope.contracts import columns as c
from chronotope.contracts.event_log import Float32, Int32, Int64
from chronotope.contracts.ids import UNKNOWN
from chronotope.contracts.queries import Queries
from chronotope.lake import Lake
from chronotope.lake.text_filter import text_equals

FullHistory = TypeVar("FullHistory", np.int32, np.int64)
_HISTORY = (c.ITEM_ID, c.PLACE_ID, c.OCCURRED_AT, c.UTC_OFFSET_MIN)


@dataclass(frozen=True, slots=True)
class UserHistory:
    """A user's events, oldest first, shape (n,) each.

    Attributes:
        item_idx, place_idx: Indices; 0 is unknown to the model.
        occurred_s: UTC seconds.
        utc_offset_min: Minutes; 0 if unknown.
    """

    item_idx: Int32
    place_idx: Int32
    occurred_s: Int64
    utc_offset_min: Int32

    def __len__(self) -> int:
        """Number of events."""
        return len(self.item_idx)

    def before(self, second: int) -> "UserHistory":
        """Events strictly before a second; events of one instant are a basket."""
        return self._take(slice(0, int(np.searchsorted(self.occurred_s, second))))

    def without_unknown(self) -> "UserHistory":
        """History without the items that are unknown to the model."""
        is_known = self.item_idx != UNKNOWN
        return self if is_known.all() else self._take(is_known)

    def _take(self, rows: slice | npt.NDArray[np.bool_]) -> "UserHistory":
        return UserHistory(
            self.item_idx[rows],
            self.place_idx[rows],
            self.occurred_s[rows],
            self.utc_offset_min[rows],
        )


def read_history(
    lake: Lake,
    user_id: str,
    request_time: datetime,
    vocabulary: Vocabulary,
    excluded_ids: Collection[str] = (),
) -> UserHistory:
    """A user's events in the lake before the request time, in the order of training.

    Args:
        lake: The dataset's lake.
        user_id: Id of the user in the lake.
        request_time: Request time, with a time zone.
        vocabulary: Ids of items and places.
        excluded_ids: Ids of events to leave out.
    """
    is_earlier = text_equals(c.USER_ID, user_id) & (
        pc.field(c.OCCURRED_AT) < pa.scalar(request_time)
    )
    events = lake.dataset("events").to_table(columns=[*_HISTORY, c.EVENT_ID], filter=is_earlier)
    events = without_events(events, excluded_ids)
    events = events.sort_by([(c.OCCURRED_AT, "ascending"), (c.EVENT_ID, "ascending")])
    item_idx = vocabulary.items.index(events[c.ITEM_ID])
    place_idx = (
        item_idx if items_are_places(vocabulary) else vocabulary.places.index(events[c.PLACE_ID])
    )
    offset_min = events[c.UTC_OFFSET_MIN].fill_null(0).to_numpy().astype(np.int32)
    return UserHistory(item_idx, place_idx, event_times_us(events) // 1_000_000, offset_min)


def without_events(events: pa.Table, excluded_ids: Collection[str]) -> pa.Table:
    """Events without those of some ids.

    Args:
        events: Column ``event_id``.
        excluded_ids: Ids of events to leave out.
    """
    if not excluded_ids:
        return events
    event_ids = events[c.EVENT_ID].cast(pa.string())
    is_excluded = pc.is_in(event_ids, value_set=pa.array(sorted(excluded_ids), pa.string()))
    return events.filter(pc.invert(is_excluded))


def items_are_places(vocabulary: Vocabulary) -> bool:
    """Whether the item is the place, as in a log of check-ins."""
    return bool(vocabulary.places.ids.equals(vocabulary.items.ids))


def event_times_us(events: pa.Table) -> Int64:
    """UTC microseconds of events, shape (n,)."""
    return np.asarray(events[c.OCCURRED_AT].cast(pa.int64()).to_numpy(), dtype=np.int64)


def history_to_queries(
    history: UserHistory,
    user_idx: int,
    request_time: datetime,
    *,
    place_idx: int = UNKNOWN,
    offset_min: int | None = None,
    context: Mapping[str, float] | None = None,
) -> Queries:
    """Batch of one query with the given request time and the whole history.

    Args:
        history: Events before the request time; unknown items are left out.
        user_idx: Index of the user; 0 for a cold-start user.
        request_time: Time of the request, with a time zone.
        place_idx: Place of the request; 0 if unknown.
        offset_min: Minutes to add to UTC for the user's clock; None takes those of the
            last event, or of the request time without one.
        context: Context values of the request, by column.
    """
    history = history.without_unknown()
    if offset_min is None:
        offset_min = (
            int(history.utc_offset_min[-1]) if len(history) else _zone_offset_min(request_time)
        )
    context_columns: dict[str, Float32] = {
        column: np.array([value], np.float32) for column, value in (context or {}).items()
    }
    return Queries(
        user_idx=np.array([user_idx], np.int32),
        item_idx=_single_row(history.item_idx),
        occurred_s=_single_row(history.occurred_s),
        utc_offset_min=_single_row(history.utc_offset_min),
        place_idx=_single_row(history.place_idx),
        request_s=np.array([int(request_time.timestamp())], np.int64),
        request_offset_min=np.array([offset_min], np.int32),
        request_place_idx=np.array([place_idx], np.int32),
        time_given=np.ones(1, np.bool_),
        context=context_columns,
    )


def _single_row(values: npt.NDArray[FullHistory]) -> npt.NDArray[FullHistory]:
    """A batch of one history, padded to at least one event."""
    return values[None] if len(values) else np.zeros((1, 1), values.dtype)


def _zone_offset_min(request_time: datetime) -> int:
    return round((request_time.utcoffset() or timedelta()).total_seconds() / 60)
