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
    events: pa.Table,
    *,
    label_column: str | None = None,
    posted_labels: Mapping[str, bool] | None = None,
) -> BehaviourLog:
    """Numeric log of a table of events.

    Args:
        events: Columns of the event table.
        label_column: Column with outcomes, see ``ANOMALOUS_VALUES``; None if there is none.
        posted_labels: Whether an event is anomalous, by event id; they replace the column's.

    Raises:
        SchemaError: A column is missing.
    """
    required = [*_COLUMNS, *([] if label_column is None else [label_column])]
    missing_columns = [name for name in required if name not in events.column_names]
    if missing_columns:
        raise SchemaError(
            f"Events lack the columns {missing_columns}",
            received=events.column_names,
            way_out="Name the label column as in the dataset's YAML, under events.attributes",
        )
    users, items = IdMap.of(events[c.USER_ID]), IdMap.of(events[c.ITEM_ID])
    user_idx, item_idx = users.index(events[c.USER_ID]), items.index(events[c.ITEM_ID])
    occurred_s = np.asarray(
        events[c.OCCURRED_AT].cast(pa.timestamp("s", tz="UTC"), safe=False).cast(pa.int64())
    )
    log = EventLog.sorted(
        user_idx=user_idx,
        item_idx=item_idx,
        occurred_s=occurred_s,
        utc_offset_min=_integers(events, c.UTC_OFFSET_MIN),
        value=_floats(events, c.VALUE),
    )
    row_idx = np.lexsort((occurred_s, user_idx)).astype(np.int64)
    return BehaviourLog(
        log,
        row_idx,
        users,
        items,
        _labels(events, label_column, posted_labels or {}, row_idx),
        _places(events, item_idx, items.size),
    )


def _labels(
    events: pa.Table,
    label_column: str | None,
    posted_labels: Mapping[str, bool],
    row_idx: Int64,
) -> EventLabels:
    """Outcomes in the order of the log."""
    is_anomalous, is_labelled = np.zeros(len(events)), np.zeros(len(events), dtype=np.bool_)
    if label_column is not None:
        labels = events[label_column].cast(pa.string())
        is_labelled = ~np.asarray(labels.is_null())
        is_anomalous = np.asarray(
            pc.is_in(labels, value_set=pa.array(ANOMALOUS_VALUES)), dtype=np.float64
        )
    if posted_labels:
        event_ids = pa.array(list(posted_labels), pa.string())
        position = pc.index_in(events[c.EVENT_ID].cast(pa.string()), value_set=event_ids)
        label_idx = np.asarray(pc.fill_null(position, -1), dtype=np.int64)
        is_posted = label_idx >= 0
        posted = np.array(list(posted_labels.values()), dtype=np.float64)
        is_anomalous = np.where(is_posted, posted[label_idx], is_anomalous)
        is_labelled = is_labelled | is_posted
    return EventLabels(is_anomalous[row_idx], is_labelled[row_idx])


def _places(events: pa.Table, item_idx: Integers, n_items: int) -> ItemPlaces | None:
    """Mean coordinates of the items' events; None if no event has any."""
    if not {c.LAT, c.LON} <= set(events.column_names):
        return None
    lat, lon = _floats(events, c.LAT), _floats(events, c.LON)
    is_located = np.isfinite(lat) & np.isfinite(lon)
    if not is_located.any():
        return None
    n_located = np.bincount(item_idx[is_located], minlength=n_items)
    sums = [np.bincount(item_idx[is_located], column[is_located], n_items) for column in (lat, lon)]
    with np.errstate(invalid="ignore"):
        return ItemPlaces(sums[0] / n_located, sums[1] / n_located)


def _floats(events: pa.Table, name: str) -> Float64:
    """Values of a column, NaN where it is null or missing."""
    if name not in events.column_names:
        return np.full(len(events), np.nan)
    column = pc.fill_null(events[name].cast(pa.float64()), float("nan"))
    return np.asarray(column, dtype=np.float64)


def _integers(events: pa.Table, name: str) -> Int64:
    """Values of a column, 0 where it is null or missing."""
    if name not in events.column_names:
        return np.zeros(len(events), dtype=np.int64)
    return np.asarray(pc.fill_null(events[name].cast(pa.int64()), 0), dtype=np.int64)
