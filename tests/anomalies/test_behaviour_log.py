"""Labels, coordinates and order of a log that is read from a table of events."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from chronotope.anomalies.behaviour_log import read_behaviour_log
from chronotope.contracts.errors import SchemaError


def table() -> pa.Table:
    times = [datetime(2024, 1, day, tzinfo=UTC) for day in (3, 1, 2)]
    return pa.table(
        {
            "event_id": ["c", "a", "b"],
            "user_id": ["u1", "u1", "u0"],
            "item_id": ["i1", "i0", "i1"],
            "occurred_at": pa.array(times, pa.timestamp("us", tz="UTC")),
            "value": [3.0, None, 2.0],
            "lat": [48.0, None, 49.0],
            "lon": [16.0, None, 17.0],
            "is_fraud": ["1", "0", None],
        }
    )


def test_events_are_ordered_and_labelled() -> None:
    behaviour = read_behaviour_log(table(), label_column="is_fraud")
    assert behaviour.row_idx.tolist() == [2, 1, 0]
    assert behaviour.labels.is_anomalous.tolist() == [0, 0, 1]
    assert behaviour.labels.is_labelled.tolist() == [False, True, True]
    assert behaviour.places is not None
    assert behaviour.places.lat[behaviour.items.index(["i1"])].tolist() == [48.5]


def test_posted_labels_replace_those_of_the_column() -> None:
    posted = {"c": False, "b": True}
    labels = read_behaviour_log(table(), label_column="is_fraud", posted_labels=posted).labels
    assert labels.is_anomalous.tolist() == [1, 0, 0]
    assert labels.is_labelled.all()


def test_a_missing_label_column_is_named() -> None:
    with pytest.raises(SchemaError, match="chargeback"):
        read_behaviour_log(table(), label_column="chargeback")
