"""What was known of a user before a moment, and the one question made of it."""

from collections.abc import Mapping
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

FullHistory = TypeVar("FullHistory", np.int32, np.int64)
_HISTORY = (c.ITEM_ID, c.PLACE_ID, c.OCCURRED_AT, c.UTC_OFFSET_MIN)


@dataclass(frozen=True, slots=True)
class UserHistory:
    """A user's events, oldest first, shape (n,) each.

    Attributes:
        item_idx, place_idx: What and where; 0 is unknown to the model.
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
        """Events strictly before a moment: those of one instant are a basket."""
        return self._take(slice(0, int(np.searchsorted(self.occurred_s, second))))

    def known(self) -> "UserHistory":
        """Without the items that the model has never seen; it cannot read them."""
        is_known = self.item_idx != UNKNOWN
        return self if is_known.all() else self._take(is_known)

    def _take(self, rows: slice | npt.NDArray[np.bool_]) -> "UserHistory":
        return UserHistory(
            self.item_idx[rows],
            self.place_idx[rows],
            self.occurred_s[rows],
            self.utc_offset_min[rows],
        )


def read_history(lake: Lake, user_id: str, at: datetime, words: Vocabulary) -> UserHistory:
    """A user's events in the lake before a moment, in the order training saw them."""
    mine = (pc.field(c.USER_ID) == user_id) & (pc.field(c.OCCURRED_AT) < pa.scalar(at))
    rows = lake.dataset("events").to_table(columns=[*_HISTORY, c.EVENT_ID], filter=mine)
    rows = rows.sort_by([(c.OCCURRED_AT, "ascending"), (c.EVENT_ID, "ascending")])
    item_idx = words.items.index(rows[c.ITEM_ID])
    same = items_are_places(words)
    place_idx = item_idx if same else words.places.index(rows[c.PLACE_ID])
    offsets = rows[c.UTC_OFFSET_MIN].fill_null(0).to_numpy().astype(np.int32)
    return UserHistory(item_idx, place_idx, event_times_us(rows) // 1_000_000, offsets)


def items_are_places(words: Vocabulary) -> bool:
    """Whether the item is the place, as in a log of check-ins."""
    return bool(words.places.ids.equals(words.items.ids))


def event_times_us(rows: pa.Table) -> Int64:
    """UTC microseconds of events, shape (n,)."""
    return np.asarray(rows[c.OCCURRED_AT].cast(pa.int64()).to_numpy(), dtype=np.int64)


def history_to_queries(
    past: UserHistory,
    user_idx: int,
    at: datetime,
    *,
    place_idx: int = UNKNOWN,
    offset_min: int | None = None,
    context: Mapping[str, float] | None = None,
) -> Queries:
    """One question at a moment whose time is told, with the whole past.

    Args:
        past: Events before the moment; unknown items are left out.
        user_idx: Who asks; 0 for a stranger.
        at: The moment, with a time zone.
        place_idx: Where the user is; 0 if unknown.
        offset_min: Minutes to add to UTC for the user's clock; None takes those of the
            last event, or of the moment without one.
        context: What else is known of the moment, by column.
    """
    past = past.known()
    if offset_min is None:
        offset_min = int(past.utc_offset_min[-1]) if len(past) else _told_offset_min(at)
    known: dict[str, Float32] = {n: np.array([v], np.float32) for n, v in (context or {}).items()}
    return Queries(
        user_idx=np.array([user_idx], np.int32),
        item_idx=_row(past.item_idx),
        occurred_s=_row(past.occurred_s),
        utc_offset_min=_row(past.utc_offset_min),
        place_idx=_row(past.place_idx),
        request_s=np.array([int(at.timestamp())], np.int64),
        request_offset_min=np.array([offset_min], np.int32),
        request_place_idx=np.array([place_idx], np.int32),
        time_given=np.ones(1, np.bool_),
        context=known,
    )


def _row(values: npt.NDArray[FullHistory]) -> npt.NDArray[FullHistory]:
    """A batch of one history, padded to at least one event."""
    return values[None] if len(values) else np.zeros((1, 1), values.dtype)


def _told_offset_min(at: datetime) -> int:
    return round((at.utcoffset() or timedelta()).total_seconds() / 60)
