"""Windows of a delivery: each row is in one of them, and keeps its own payload."""

import numpy as np
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.datasets.normalise import normalise
from chronotope.datasets.row_filters import RowFilter
from chronotope.datasets.spec import DatasetSpec
from chronotope.ingestion import IngestBatch, rows_in_window

SPEC = DatasetSpec.model_validate(
    {
        "name": "city",
        "description": "Six rows.",
        "licence": "CC0-1.0",
        "events": {
            "format": "csv",
            "path": "x.csv",
            "columns": {name: name for name in (c.USER_ID, c.ITEM_ID, c.OCCURRED_AT)},
        },
    }
)
TIMES = ["1970-01-01T00:00:05Z", "never", "1970-01-01T00:00:01Z", "", "1970-01-01T00:00:09Z"]


def batch() -> IngestBatch:
    told = {c.USER_ID: list("abcde"), c.ITEM_ID: list("vwxyz"), c.OCCURRED_AT: TIMES}
    raw = pa.table(told)
    done = normalise(SPEC, raw)
    return IngestBatch(raw, done.rows, done.row_positions, done.refused)


def test_every_row_is_in_one_window() -> None:
    windows = [
        list(rows_in_window([batch()], *bounds, with_refused=first))
        for bounds, first in (((0, 5), True), ((5, 9), False), ((9, 20), False))
    ]
    read = [user for found in windows for each in found for user in each.raw[c.USER_ID].to_pylist()]
    assert sorted(read) == list("abcde")
    for found in windows:
        for each in found:
            assert len(each.raw) == len(each.rows) + len(each.refused)


def test_what_is_kept_and_refused_points_at_its_own_payload() -> None:
    (found,) = rows_in_window([batch()], 0, 6, with_refused=True)
    kept = found.raw.take(pa.array(found.row_positions))
    assert kept[c.USER_ID].to_pylist() == found.rows[c.USER_ID].to_pylist() == ["a", "c"]
    refused = found.raw.take(found.refused.column("row").combine_chunks())
    assert refused[c.USER_ID].to_pylist() == ["b", "d"]


def test_dropped_rows_are_in_one_window() -> None:
    rows = {c.USER_ID: list("abcde"), c.ITEM_ID: list("vwxyz"), c.OCCURRED_AT: TIMES}
    raw = pa.table(rows)
    done = normalise(SPEC, raw, keep_rules={c.ITEM_ID: RowFilter(not_in=("v", "w"))})
    whole = IngestBatch(raw, done.rows, done.row_positions, done.refused, done.dropped)
    (first,) = rows_in_window([whole], 0, 5, with_refused=True)
    (second,) = rows_in_window([whole], 5, 20, with_refused=False)
    assert (first.raw[c.USER_ID].to_pylist(), second.raw[c.USER_ID].to_pylist()) == (
        ["a", "b", "c", "d"],
        ["e"],
    )
    assert (sum(first.dropped.values()), second.dropped) == (2, {})
    assert first.raw.take(first.refused.column("row"))[c.USER_ID].to_pylist() == ["d"]


def test_a_window_without_rows_yields_nothing() -> None:
    assert list(rows_in_window([batch()], 100, 200, with_refused=False)) == []
    (only,) = rows_in_window([batch()], 9, 10, with_refused=False)
    assert np.array_equal(only.row_positions, [0])
