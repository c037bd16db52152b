"""Numeric log of clean rows without a lake: equal to the snapshot that an ingestion builds."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chronotope.api.logs.clean_rows import MICROS_PER_S, CleanRows
from chronotope.contracts import columns as c
from chronotope.contracts.event_log import Catalog, EventLog, Int64
from chronotope.contracts.ids import IdMap, event_ids
from chronotope.contracts.schemas import INSTANT
from chronotope.datasets.spec import DatasetSpec
from chronotope.spacetime.clock import utc_offsets

_KEY_BITS: Final = 63
_HOUR_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class RowOrder:
    """Order of rows by user, time and event id.

    Attributes:
        positions: Position of each row of the order, shape (n_rows,).
        has_repeats: Whether two rows are one event.
        max_hourly: Most events of a user in a clock hour.
    """

    positions: Int64
    has_repeats: bool
    max_hourly: int


def sort_rows(clean_rows: CleanRows, dataset_spec: DatasetSpec) -> RowOrder:
    """Order the rows as a snapshot does.

    Event ids, a digest of each row, are computed only for rows of one user and one instant.

    Args:
        clean_rows: The rows.
        dataset_spec: Their dataset.
    """
    positions = _by_user_and_time(clean_rows)
    user_idx = clean_rows.users.row_idx[positions]
    occurred_us = clean_rows.occurred_us[positions]
    is_next_same = (user_idx[1:] == user_idx[:-1]) & (occurred_us[1:] == occurred_us[:-1])
    has_repeats = False
    if is_next_same.any():
        tied_mask = np.zeros(len(positions), np.bool_)
        tied_mask[1:] |= is_next_same
        tied_mask[:-1] |= is_next_same
        tied_rows = positions[tied_mask]
        row_ids = np.array(_event_ids(clean_rows, tied_rows, dataset_spec).to_pylist(), np.str_)
        group_idx = np.cumsum(np.r_[True, ~is_next_same])[tied_mask]
        tie_order = np.lexsort((row_ids, group_idx))
        positions[tied_mask] = tied_rows[tie_order]
        ordered_ids = row_ids[tie_order]
        has_repeats = bool((ordered_ids[1:] == ordered_ids[:-1]).any())
    return RowOrder(positions, has_repeats, _max_hourly(user_idx, occurred_us))


def numeric_log(
    clean_rows: CleanRows, positions: Int64, dataset_spec: DatasetSpec
) -> tuple[EventLog, Catalog]:
    """Event log and catalogue of rows without places, coordinates and attributes.

    Args:
        clean_rows: The rows, none of them twice.
        positions: Their order.
        dataset_spec: Their dataset.
    """
    n_rows, n_items = len(clean_rows), clean_rows.items.ids.size
    occurred_s = clean_rows.occurred_us[positions] // MICROS_PER_S
    item_idx = clean_rows.items.row_idx[positions]
    no_index, local_zone = np.zeros(n_rows, np.int32), dataset_spec.local_zone
    numbers = {
        name: values[positions].astype(np.float32) for name, values in clean_rows.numbers.items()
    }
    event_log = EventLog(
        user_idx=clean_rows.users.row_idx[positions],
        item_idx=item_idx,
        occurred_s=occurred_s,
        utc_offset_min=no_index if local_zone is None else utc_offsets(occurred_s, local_zone),
        place_idx=item_idx if dataset_spec.items_are_places else no_index,
        session_idx=no_index,
        value=numbers.get(c.VALUE, np.full(n_rows, np.nan, np.float32)),
        context={name: numbers[name] for name in dataset_spec.known_before},
    )
    no_ids = IdMap(pa.array([], pa.string()))
    places = clean_rows.items.ids if dataset_spec.items_are_places else no_ids
    unknown_deg, unknown_place_deg = np.full(n_items, np.nan), np.full(places.size, np.nan)
    item_catalog = Catalog(
        users=clean_rows.users.ids,
        items=clean_rows.items.ids,
        places=places,
        categories=no_ids,
        item_category=np.zeros(n_items, np.int32),
        item_lat=unknown_deg,
        item_lon=unknown_deg.copy(),
        place_lat=unknown_place_deg,
        place_lon=unknown_place_deg.copy(),
        items_are_places=dataset_spec.items_are_places,
        item_title=np.zeros(n_items, np.dtype("U1")),
    )
    return event_log, item_catalog


def _by_user_and_time(clean_rows: CleanRows) -> Int64:
    """Order by user and time: one number of both and the position is sorted, if it fits."""
    user_idx, occurred_us = clean_rows.users.row_idx, clean_rows.occurred_us
    elapsed = occurred_us - occurred_us.min()
    if not (elapsed % MICROS_PER_S).any():
        elapsed //= MICROS_PER_S
    time_bits, row_bits = int(elapsed.max()).bit_length(), len(elapsed).bit_length()
    if int(clean_rows.users.ids.size).bit_length() + time_bits + row_bits > _KEY_BITS:
        return np.lexsort((occurred_us, user_idx)).astype(np.int64)
    sort_key = user_idx.astype(np.int64)
    sort_key <<= time_bits
    sort_key |= elapsed
    sort_key <<= row_bits
    sort_key |= np.arange(len(elapsed))
    sort_key.sort()  # in one pass without an index, several times as fast
    sort_key &= (1 << row_bits) - 1
    return sort_key


def _event_ids(
    clean_rows: CleanRows, row_positions: Int64, dataset_spec: DatasetSpec
) -> pa.StringArray:
    """Event ids of some rows."""
    tied_table = clean_rows.take(row_positions).table()
    item_texts = tied_table[c.ITEM_ID].combine_chunks().dictionary_decode()
    identity: dict[str, pa.Array] = {
        c.USER_ID: tied_table[c.USER_ID].combine_chunks().dictionary_decode(),
        c.ITEM_ID: item_texts,
        c.EVENT_TYPE: pa.repeat(dataset_spec.event_type, len(tied_table)),
        c.OCCURRED_AT: tied_table[c.OCCURRED_AT].combine_chunks().cast(INSTANT),
        c.PLACE_ID: item_texts
        if dataset_spec.items_are_places
        else pa.nulls(len(tied_table), pa.string()),
        c.SESSION_ID: pa.nulls(len(tied_table), pa.string()),
    }
    return event_ids([identity[name] for name in dataset_spec.identity_columns])


def _max_hourly(user_idx: npt.NDArray[np.int32], occurred_us: Int64) -> int:
    """Most events of one user in a clock hour; rows by user and time."""
    hour_idx = occurred_us // (MICROS_PER_S * _HOUR_S)
    is_new = (user_idx[1:] != user_idx[:-1]) | (hour_idx[1:] != hour_idx[:-1])
    run_starts = np.flatnonzero(np.r_[True, is_new, True])
    return int(np.diff(run_starts).max())
