"""The lake's events as columns of codes and numbers, ordered by user and time."""

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

_TEXTS = (c.USER_ID, c.ITEM_ID, c.EVENT_TYPE, c.PLACE_ID)
_READ = (*_TEXTS, c.OCCURRED_AT, c.UTC_OFFSET_MIN, c.LAT, c.LON, c.VALUE)
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class EncodedColumn:
    """A column of texts.

    Attributes:
        codes: Position among the names, -1 if unknown, shape (n,).
        names: Distinct values.
    """

    codes: Int64
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EncodedEvents:
    """Events of all users, ordered by user and time.

    Attributes:
        user, item: Who and what.
        occurred_s: UTC seconds, shape (n,).
        texts: Further columns of texts, and local hour and weekday, by the name shown.
        numbers: Columns of numbers by the name shown; NaN if unknown, shape (n,) each.
    """

    user: EncodedColumn
    item: EncodedColumn
    occurred_s: Int64
    texts: dict[str, EncodedColumn]
    numbers: dict[str, Float64]

    def __len__(self) -> int:
        """Number of events."""
        return len(self.occurred_s)


def read_encoded_events(lake: Lake, version: int | TableVersion) -> EncodedEvents:
    """Events of a version, with what follows from the user's previous one.

    Args:
        lake: Its tables ``events`` and, if there is one, ``items``.
        version: Version of the events.
    """
    rows = lake.read("events", version, _READ)
    user, seconds = encode_column(rows.column(c.USER_ID)), _seconds(rows)
    order = np.lexsort((seconds, user.codes))
    rows = rows.take(pa.array(order))
    at = {name: encode_column(rows.column(name)) for name in _TEXTS}
    log = EventLog.sorted(
        user_idx=at[c.USER_ID].codes,
        item_idx=at[c.ITEM_ID].codes,
        occurred_s=seconds[order],
        utc_offset_min=pc.fill_null(rows.column(c.UTC_OFFSET_MIN), 0).to_numpy(),
    )
    gap_h, km = _from_previous(log, *_located(rows, lake))
    hour = local_hour(log.occurred_s, log.utc_offset_min).astype(np.int64)
    day = (hour_of_week(log.occurred_s, log.utc_offset_min) // 24).astype(np.int64)
    texts = {
        "event type": at[c.EVENT_TYPE],
        "item category": _category(at[c.ITEM_ID], lake),
        "place": at[c.PLACE_ID],
        "hour of day": EncodedColumn(hour, tuple(f"{h:02d} h" for h in range(24))),
        "weekday": EncodedColumn(day, WEEKDAYS),
    }
    numbers = {"value": _floats(rows, c.VALUE), "hours since last": gap_h, "km from last": km}
    return EncodedEvents(at[c.USER_ID], at[c.ITEM_ID], log.occurred_s, texts, numbers)


def encode_column(column: pa.ChunkedArray) -> EncodedColumn:
    """A column of texts as codes and their names."""
    encoded = column.combine_chunks().dictionary_encode()
    codes = pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return EncodedColumn(np.asarray(codes, np.int64), tuple(encoded.dictionary.to_pylist()))


def _seconds(rows: pa.Table) -> Int64:
    micros = rows.column(c.OCCURRED_AT).cast(pa.int64()).to_numpy()
    return np.asarray(micros // 1_000_000, dtype=np.int64)


def _floats(rows: pa.Table, name: str) -> Float64:
    return np.asarray(rows.column(name).cast(pa.float64()).to_numpy(), dtype=np.float64)


def _of_items(lake: Lake, item_ids: pa.ChunkedArray, name: str) -> pa.ChunkedArray | None:
    """A column of the catalogue for each event; None without a catalogue."""
    if not lake.exists("items"):
        return None
    items = lake.read("items", columns=[c.ITEM_ID, name])
    known = items.column(c.ITEM_ID).combine_chunks()
    return items.column(name).take(pc.index_in(item_ids, value_set=known))


def _category(item: EncodedColumn, lake: Lake) -> EncodedColumn:
    """Category of each event's item, looked up once an item."""
    found = _of_items(lake, pa.chunked_array([pa.array(item.names, pa.string())]), c.CATEGORY)
    if found is None:
        return EncodedColumn(np.full(len(item.codes), -1), ())
    of_item = encode_column(found)
    return EncodedColumn(np.append(of_item.codes, -1)[item.codes], of_item.names)


def _located(rows: pa.Table, lake: Lake) -> tuple[Float64, Float64]:
    """Where each event was: its own coordinates, or else its item's."""
    found = []
    for name in (c.LAT, c.LON):
        own, of_item = _floats(rows, name), _of_items(lake, rows.column(c.ITEM_ID), name)
        if of_item is not None:
            own = np.where(np.isnan(own), of_item.cast(pa.float64()).to_numpy(), own)
        found.append(own)
    return found[0], found[1]


def _from_previous(log: EventLog, lat: Float64, lon: Float64) -> tuple[Float64, Float64]:
    """Hours and kilometres from the user's last earlier event; NaN without one."""
    first, basket = log.user_start(), log.basket_start()
    has_past = basket > first
    last = np.where(has_past, basket - 1, 0)
    gap_h = np.where(has_past, (log.occurred_s - log.occurred_s[last]) / 3600.0, np.nan)
    km = haversine_km(lat=lat[last], lon=lon[last], to_lat=lat, to_lon=lon)
    return gap_h, np.where(has_past, km, np.nan)
