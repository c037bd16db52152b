"""Events of a lake as numeric log, with their outcomes and the coordinates of the items."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.anomalies.behaviour_features import EventLabels, ItemPlaces
from chronotope.anomalies.time_windows import Integers
from chronotope.contracts import columns as c
from chronotope.contracts.errors import SchemaError
from chronotope.contracts.event_log import EventLog, Float64, Int64
from chronotope.contracts.ids import IdMap

ANOMALOUS_VALUES = ("1", "1.0", "true", "True", "yes")
"""Values of a label column that mark an anomaly; others mark a genuine event, null none of both."""

_COLUMNS = (c.EVENT_ID, c.USER_ID, c.ITEM_ID, c.OCCURRED_AT)


@dataclass(frozen=True, slots=True)
class BehaviourLog:
    """A log, in the order of (user, time), with what detectors need beside it.

    Attributes:
        log: The events.
        row_idx: Row of each event in the table that it was read from, shape (n_events,).
        users: User ids.
        items: Item ids.
        labels: Outcomes.
        places: Coordinates of the items; None if no event has any.
    """

    log: EventLog
    row_idx: Int64
    users: IdMap
    items: IdMap
    labels: EventLabels
    places: ItemPlaces | None


def read_behaviour_log(
    event_table: pa.Table,
    *,
    label_column: str | None = None,
    posted_labels: Mapping[str, bool] | None = None,
) -> BehaviourLog:
    """Numeric log of a table of events.

    Args:
        event_table: Columns of the event table.
        label_column: Column with outcomes, see ``ANOMALOUS_VALUES``; None if there is none.
        posted_labels: Whether an event is anomalous, by event id; they replace the column's.

    Raises:
        SchemaError: A column is missing.
    """
    required_columns = [*_COLUMNS, *([] if label_column is None else [label_column])]
    missing_columns = [
        column_name
        for column_name in required_columns
        if column_name not in event_table.column_names
    ]
    if missing_columns:
        raise SchemaError(
            f"Events lack the columns {missing_columns}",
            received=event_table.column_names,
            way_out="Name the label column as in the dataset's YAML, under events.attributes",
        )
    users, items = IdMap.of(event_table[c.USER_ID]), IdMap.of(event_table[c.ITEM_ID])
    user_idx, item_idx = users.index(event_table[c.USER_ID]), items.index(event_table[c.ITEM_ID])
    occurred_s = np.asarray(
        event_table[c.OCCURRED_AT].cast(pa.timestamp("s", tz="UTC"), safe=False).cast(pa.int64())
    )
    log = EventLog.sorted(
        user_idx=user_idx,
        item_idx=item_idx,
        occurred_s=occurred_s,
        utc_offset_min=_integers(event_table, c.UTC_OFFSET_MIN),
        value=_floats(event_table, c.VALUE),
    )
    row_idx = np.lexsort((occurred_s, user_idx)).astype(np.int64)
    return BehaviourLog(
        log,
        row_idx,
        users,
        items,
        _labels(event_table, label_column, posted_labels or {}, row_idx),
        _places(event_table, item_idx, items.size),
    )


def _labels(
    event_table: pa.Table,
    label_column: str | None,
    posted_labels: Mapping[str, bool],
    row_idx: Int64,
) -> EventLabels:
    """Outcomes in the order of the log."""
    is_anomalous, is_labelled = (
        np.zeros(len(event_table)),
        np.zeros(len(event_table), dtype=np.bool_),
    )
    if label_column is not None:
        label_values = event_table[label_column].cast(pa.string())
        is_labelled = ~np.asarray(label_values.is_null())
        is_anomalous = np.asarray(
            pc.is_in(label_values, value_set=pa.array(ANOMALOUS_VALUES)), dtype=np.float64
        )
    if posted_labels:
        event_ids = pa.array(list(posted_labels), pa.string())
        label_position = pc.index_in(event_table[c.EVENT_ID].cast(pa.string()), value_set=event_ids)
        label_idx = np.asarray(pc.fill_null(label_position, -1), dtype=np.int64)
        is_posted = label_idx >= 0
        posted_values = np.array(list(posted_labels.values()), dtype=np.float64)
        is_anomalous = np.where(is_posted, posted_values[label_idx], is_anomalous)
        is_labelled = is_labelled | is_posted
    return EventLabels(is_anomalous[row_idx], is_labelled[row_idx])


def _places(event_table: pa.Table, item_idx: Integers, n_items: int) -> ItemPlaces | None:
    """Mean coordinates of the items' events; None if no event has any."""
    if not {c.LAT, c.LON} <= set(event_table.column_names):
        return None
    event_lat, event_lon = _floats(event_table, c.LAT), _floats(event_table, c.LON)
    is_located = np.isfinite(event_lat) & np.isfinite(event_lon)
    if not is_located.any():
        return None
    n_located = np.bincount(item_idx[is_located], minlength=n_items)
    coordinate_sums = [
        np.bincount(item_idx[is_located], number_column[is_located], n_items)
        for number_column in (event_lat, event_lon)
    ]
    with np.errstate(invalid="ignore"):
        return ItemPlaces(coordinate_sums[0] / n_located, coordinate_sums[1] / n_located)


def _floats(event_table: pa.Table, column_name: str) -> Float64:
    """Values of a column, NaN where it is null or missing."""
    if column_name not in event_table.column_names:
        return np.full(len(event_table), np.nan)
    number_column = pc.fill_null(event_table[column_name].cast(pa.float64()), float("nan"))
    return np.asarray(number_column, dtype=np.float64)


def _integers(event_table: pa.Table, column_name: str) -> Int64:
    """Values of a column, 0 where it is null or missing."""
    if column_name not in event_table.column_names:
        return np.zeros(len(event_table), dtype=np.int64)
    return np.asarray(pc.fill_null(event_table[column_name].cast(pa.int64()), 0), dtype=np.int64)
