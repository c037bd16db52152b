"""Events of the lake as integer codes and numbers, ordered by user and time."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.data_version import TableVersion
from chronotope.contracts.event_log import EventLog, Float64, Int64
from chronotope.lake import Lake
from chronotope.spacetime.clock import hour_of_week, local_hour
from chronotope.spacetime.distances import haversine_km

_TEXT_COLUMNS = (c.USER_ID, c.ITEM_ID, c.EVENT_TYPE, c.PLACE_ID)
_READ_COLUMNS = (*_TEXT_COLUMNS, c.OCCURRED_AT, c.UTC_OFFSET_MIN, c.LAT, c.LON, c.VALUE)
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class EncodedColumn:
    """Text column as integer codes.

    Attributes:
        codes: Index into ``names``, -1 if the value is missing, shape (n,).
        names: Distinct values.
    """

    codes: Int64
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EncodedEvents:
    """Events of all users, ordered by user and time.

    Attributes:
        user, item: User and item of each event.
        occurred_s: Time of each event, UTC seconds, shape (n,).
        texts: Other categorical columns, local hour and weekday included, by the name in
            reports.
        numbers: Numeric columns by the name in reports; NaN if missing, shape (n,) each.
    """

    user: EncodedColumn
    item: EncodedColumn
    occurred_s: Int64
    texts: dict[str, EncodedColumn]
    numbers: dict[str, Float64]

    def __len__(self) -> int:
        """Number of events."""
        return len(self.occurred_s)


def read_encoded_events(event_lake: Lake, events_version: int | TableVersion) -> EncodedEvents:
    """Read the events of a version, with time and distance since the user's previous event.

    Args:
        event_lake: Lake with the table ``events`` and, optionally, ``items``.
        events_version: Version of the events table.
    """
    event_rows = event_lake.read("events", events_version, _READ_COLUMNS)
    user, event_times_s = encode_column(event_rows.column(c.USER_ID)), _seconds(event_rows)
    sort_order = np.lexsort((event_times_s, user.codes))
    event_rows = event_rows.take(pa.array(sort_order))
    column_by_name = {
        column_name: encode_column(event_rows.column(column_name)) for column_name in _TEXT_COLUMNS
    }
    event_log = EventLog.sorted(
        user_idx=column_by_name[c.USER_ID].codes,
        item_idx=column_by_name[c.ITEM_ID].codes,
        occurred_s=event_times_s[sort_order],
        utc_offset_min=pc.fill_null(event_rows.column(c.UTC_OFFSET_MIN), 0).to_numpy(),
    )
    gap_h, distance_km = _from_previous(event_log, *_coordinates(event_rows, event_lake))
    local_hours = local_hour(event_log.occurred_s, event_log.utc_offset_min).astype(np.int64)
    weekday = (hour_of_week(event_log.occurred_s, event_log.utc_offset_min) // 24).astype(np.int64)
    texts = {
        "event type": column_by_name[c.EVENT_TYPE],
        "item category": _category(column_by_name[c.ITEM_ID], event_lake),
        "place": column_by_name[c.PLACE_ID],
        "hour of day": EncodedColumn(local_hours, tuple(f"{hour:02d} h" for hour in range(24))),
        "weekday": EncodedColumn(weekday, WEEKDAYS),
    }
    numbers = {
        "value": _floats(event_rows, c.VALUE),
        "hours since last": gap_h,
        "km from last": distance_km,
    }
    return EncodedEvents(
        column_by_name[c.USER_ID], column_by_name[c.ITEM_ID], event_log.occurred_s, texts, numbers
    )


def encode_column(text_column: pa.ChunkedArray) -> EncodedColumn:
    """Encode a text column as integer codes; nulls become -1."""
    encoded_column = text_column.combine_chunks().dictionary_encode()
    codes = pc.fill_null(encoded_column.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return EncodedColumn(np.asarray(codes, np.int64), tuple(encoded_column.dictionary.to_pylist()))


def _seconds(event_rows: pa.Table) -> Int64:
    event_times_us = event_rows.column(c.OCCURRED_AT).cast(pa.int64()).to_numpy()
    return np.asarray(event_times_us // 1_000_000, dtype=np.int64)


def _floats(event_rows: pa.Table, column_name: str) -> Float64:
    return np.asarray(
        event_rows.column(column_name).cast(pa.float64()).to_numpy(), dtype=np.float64
    )


def _item_column(
    event_lake: Lake, item_ids: pa.ChunkedArray, column_name: str
) -> pa.ChunkedArray | None:
    """Values of a catalogue column by item id, null if unknown; None without a catalogue."""
    if not event_lake.exists("items"):
        return None
    item_table = event_lake.read("items", columns=[c.ITEM_ID, column_name])
    known_item_ids = item_table.column(c.ITEM_ID).combine_chunks()
    return item_table.column(column_name).take(pc.index_in(item_ids, value_set=known_item_ids))


def _category(item: EncodedColumn, event_lake: Lake) -> EncodedColumn:
    """Category of each event's item; the look-up is done once for each distinct item."""
    item_names = pa.chunked_array([pa.array(item.names, pa.string())])
    item_categories = _item_column(event_lake, item_names, c.CATEGORY)
    if item_categories is None:
        return EncodedColumn(np.full(len(item.codes), -1), ())
    categories = encode_column(item_categories)
    return EncodedColumn(np.append(categories.codes, -1)[item.codes], categories.names)


def _coordinates(event_rows: pa.Table, event_lake: Lake) -> tuple[Float64, Float64]:
    """Latitude and longitude of each event, or else of its item, degrees, shape (n,) each."""
    coordinates = []
    for column_name in (c.LAT, c.LON):
        event_values = _floats(event_rows, column_name)
        item_values = _item_column(event_lake, event_rows.column(c.ITEM_ID), column_name)
        if item_values is not None:
            event_values = np.where(
                np.isnan(event_values), item_values.cast(pa.float64()).to_numpy(), event_values
            )
        coordinates.append(event_values)
    return coordinates[0], coordinates[1]


def _from_previous(
    event_log: EventLog, lat_deg: Float64, lon_deg: Float64
) -> tuple[Float64, Float64]:
    """Hours and kilometres since the user's previous basket; NaN without one, shape (n,) each."""
    first_position, basket_start = event_log.user_start(), event_log.basket_start()
    has_past = basket_start > first_position
    previous_position = np.where(has_past, basket_start - 1, 0)
    gap_h = np.where(
        has_past, (event_log.occurred_s - event_log.occurred_s[previous_position]) / 3600.0, np.nan
    )
    distance_km = haversine_km(
        lat=lat_deg[previous_position],
        lon=lon_deg[previous_position],
        to_lat=lat_deg,
        to_lon=lon_deg,
    )
    return gap_h, np.where(has_past, distance_km, np.nan)
