"""Numeric form of an event log and its catalogue, read by splitting, metrics, models, training."""

from dataclasses import dataclass, field, fields, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import DataError
from chronotope.contracts.ids import IdMap
from chronotope.contracts.item_content import ItemContent
from chronotope.contracts.item_context import ItemContext, ItemContextColumn
from chronotope.contracts.user_attributes import UserAttributes

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

_BLOCK_ROWS = 1 << 20
"""Rows whose order is checked at a time."""

_NO_COLUMNS = ("context", "item_context")
"""Fields of a log that are not one array of its events."""


@dataclass(frozen=True, slots=True)
class EventLog:
    """Events of all users, ordered by (user_idx, occurred_s, event order).

    Every array has shape (n_events,). Index 0 is the unknown user, item, place or
    session (see ``IdMap``).

    Attributes:
        user_idx: User index.
        item_idx: Item index.
        occurred_s: Event time, whole UTC seconds since 1970.
        utc_offset_min: Minutes to add to UTC for the user's local time; 0 if unknown.
        place_idx: Place index; equal to ``item_idx`` in a log of check-ins.
        session_idx: Session index (visit, basket or trajectory); 0 if the log has none.
        value: Amount, rating or dwell time; NaN if unknown.
        context: Further numeric columns by name, known at the event's time.
        item_context: Values of the items by place and time; None if there are none.
    """

    user_idx: Int32
    item_idx: Int32
    occurred_s: Int64
    utc_offset_min: Int32
    place_idx: Int32
    session_idx: Int32
    value: Float32
    context: dict[str, Float32] = field(default_factory=dict)
    item_context: ItemContext | None = None

    def __post_init__(self) -> None:
        """Check shapes and order.

        Raises:
            DataError: Arrays differ in length, or rows are out of order.
        """
        n_values = len(self.user_idx)
        for column_name, array in self._arrays().items():
            if array.shape != (n_values,):
                raise DataError(
                    f"Column {column_name!r} of an event log must have shape ({n_values},)",
                    received=array.shape,
                )
        if not _is_ordered(self.user_idx, self.occurred_s):
            raise DataError(
                "Events must be ordered by (user_idx, occurred_s)",
                way_out="Build the log with EventLog.sorted(...)",
            )

    @classmethod
    def sorted(
        cls,
        *,
        user_idx: npt.ArrayLike,
        item_idx: npt.ArrayLike,
        occurred_s: npt.ArrayLike,
        utc_offset_min: npt.ArrayLike | None = None,
        place_idx: npt.ArrayLike | None = None,
        session_idx: npt.ArrayLike | None = None,
        value: npt.ArrayLike | None = None,
        context: dict[str, npt.ArrayLike] | None = None,
    ) -> Self:
        """Build a log from unordered rows.

        Rows are sorted by user and time (stable). Absent index columns are filled with 0,
        an absent ``value`` with NaN.
        """
        user_column = np.asarray(user_idx, dtype=np.int32)
        event_times_s = np.asarray(occurred_s, dtype=np.int64)
        sort_order = np.lexsort((event_times_s, user_column))
        zero_column = np.zeros(len(user_column), dtype=np.int32)

        def ints(column: npt.ArrayLike | None) -> Int32:
            return zero_column if column is None else np.asarray(column, dtype=np.int32)[sort_order]

        missing_column = np.full(len(user_column), np.nan, dtype=np.float32)
        return cls(
            user_idx=user_column[sort_order],
            item_idx=np.asarray(item_idx, dtype=np.int32)[sort_order],
            occurred_s=event_times_s[sort_order],
            utc_offset_min=ints(utc_offset_min),
            place_idx=ints(place_idx),
            session_idx=ints(session_idx),
            value=missing_column
            if value is None
            else np.asarray(value, dtype=np.float32)[sort_order],
            context={
                column_name: np.asarray(column_values, dtype=np.float32)[sort_order]
                for column_name, column_values in (context or {}).items()
            },
        )

    def __len__(self) -> int:
        """Number of events."""
        return len(self.user_idx)

    def _arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        plain_columns = {
            data_field.name: getattr(self, data_field.name)
            for data_field in fields(self)
            if data_field.name not in _NO_COLUMNS
        }
        return plain_columns | {
            f"context.{column_name}": column for column_name, column in self.context.items()
        }

    def user_start(self) -> Int64:
        """Position of the first event of the same user, for each event, shape (n_events,)."""
        return _run_starts(self.user_idx[1:] != self.user_idx[:-1])

    def basket_start(self) -> Int64:
        """Position of the first event of the same basket, for each event, shape (n_events,).

        A basket is the set of a user's events at one instant. Its events are predicted from
        the events before the basket, never from each other.
        """
        same_user = self.user_idx[1:] == self.user_idx[:-1]
        same_instant = self.occurred_s[1:] == self.occurred_s[:-1]
        return _run_starts(~(same_user & same_instant))

    def repeat_share(self) -> float:
        """Share of events whose item the same user had in another event; 0 for an empty log."""
        if not len(self):
            return 0.0
        n_items = int(self.item_idx.max()) + 1
        user_items = np.unique(self.user_idx.astype(np.int64) * n_items + self.item_idx)
        return 1.0 - len(user_items) / len(self)

    def take(self, row_idx: npt.NDArray[np.bool_] | Int64 | slice) -> Self:
        """Log of the chosen rows: a mask, increasing positions, or a slice (no copy)."""
        row_columns = {
            data_field.name: getattr(self, data_field.name)[row_idx]
            for data_field in fields(self)
            if data_field.name not in _NO_COLUMNS
        }
        return replace(
            self,
            **row_columns,
            context={
                column_name: column_values[row_idx]
                for column_name, column_values in self.context.items()
            },
        )

    def before(self, instant_s: int) -> Self:
        """Log of the events strictly before an instant, UTC seconds."""
        return self.take(self.occurred_s < instant_s)


@dataclass(frozen=True, slots=True)
class Catalog:
    """Ids and attributes of items, places and users.

    Attributes:
        users, items, places, categories: Maps from ids to indices; index 0 is unknown.
        item_category: Category index of each item, shape (n_items,); 0 if unknown.
        item_lat, item_lon: Degrees WGS 84, shape (n_items,); NaN if unknown.
        place_lat, place_lon: Degrees WGS 84, shape (n_places,); NaN if unknown.
        items_are_places: True in a log of check-ins, where the item is the place.
        item_title: Title to display, shape (n_items,); "" if unknown.
        content: What the items are: vectors of their texts and pictures; None if there are none.
        user_attributes: Levels of the users' attributes; None if there is no users table.
        item_context: Columns of the item context that a log has.
    """

    users: IdMap
    items: IdMap
    places: IdMap
    categories: IdMap
    item_category: Int32
    item_lat: Float64
    item_lon: Float64
    place_lat: Float64
    place_lon: Float64
    items_are_places: bool = False
    item_title: npt.NDArray[np.str_] = field(default_factory=lambda: np.array([], dtype=np.str_))
    content: ItemContent | None = None
    user_attributes: UserAttributes | None = None
    item_context: tuple[ItemContextColumn, ...] = ()

    @property
    def n_items(self) -> int:
        """Number of item indices, including index 0 (unknown)."""
        return self.items.size

    @property
    def n_places(self) -> int:
        """Number of place indices, including index 0 (unknown)."""
        return self.places.size


def _run_starts(is_new: npt.NDArray[np.bool_]) -> Int64:
    """Start position of each element's run, shape (n,); ``is_new`` has shape (n - 1,)."""
    n_values = len(is_new) + 1
    start_positions = np.zeros(n_values, dtype=np.int64)
    start_positions[1:] = np.where(is_new, np.arange(1, n_values), 0)
    return np.maximum.accumulate(start_positions)


def _is_ordered(user_idx: Int32, occurred_s: Int64) -> bool:
    """Whether rows are ordered by user and time; a block at a time, to need little memory."""
    for first_row in range(0, len(user_idx), _BLOCK_ROWS):
        block = slice(first_row, first_row + _BLOCK_ROWS + 1)  # with the first row of the next one
        user_step, time_step = np.diff(user_idx[block]), np.diff(occurred_s[block])
        if (user_step < 0).any() or ((user_step == 0) & (time_step < 0)).any():
            return False
    return True
