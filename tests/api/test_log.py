"""Logs of data frames: equal to an ingestion, and errors that name column and way out."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import chronotope as ct
from chronotope.contracts.errors import (
    ChronotopeError,
    ConfigError,
    NotEnoughData,
    SchemaError,
    ValidationFailed,
)
from tests.api.conftest import COLUMNS


def small(**columns: Any) -> pd.DataFrame:
    """Six events of two users."""
    return pd.DataFrame(
        {
            "who": [1, 1, 2, 2, 1, 2],
            "what": list("abcabc"),
            "when": pd.date_range("2024-03-01", periods=6, freq="D"),
            **columns,
        }
    )


def read(frame: Any, **options: Any) -> ct.Log:
    return ct.Log.from_frame(frame, **{"user": "who", "item": "what", "time": "when", **options})


def test_a_frame_gives_the_features_of_an_ingestion(city: Any, log: ct.Log) -> None:
    places: dict[str, Any] = {"lat": "lat", "lon": "lon"}
    events = city.log.to_pandas()
    by_user = ct.Log.from_frame(events, **COLUMNS, **places, catalog=city.catalog)
    assert len(log) == len(city.log) == 6_000
    np.testing.assert_array_equal(by_user.events.item_idx, city.log.events.item_idx)
    np.testing.assert_array_equal(by_user.events.occurred_s, city.log.events.occurred_s)
    np.testing.assert_allclose(by_user.index.item_lat, city.log.index.item_lat)


def test_pandas_arrow_and_polars_like_frames_give_one_log(frame: pd.DataFrame) -> None:
    class Exported:  # what polars and DuckDB offer
        def __init__(self, table: pa.Table) -> None:
            self.table, self.columns = table, table.column_names

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return self.table.__arrow_c_stream__(requested_schema)

    table = pa.table({name: pa.chunked_array(frame[name]) for name in frame.columns})
    logs = [ct.Log.from_frame(data, **COLUMNS) for data in (frame, table, Exported(table))]
    ids = [sorted(each.rows["event_id"].to_pylist()) for each in logs]
    assert ids[0] == ids[1] == ids[2]


@pytest.mark.parametrize(
    ("times", "options"),
    [
        ([1709251200 + day * 86_400 for day in range(6)], {}),
        ([1709251200_000 + day * 86_400_000 for day in range(6)], {}),
        ([f"2024-03-0{day}T00:00:00Z" for day in range(1, 7)], {}),
        ([f"0{day}.03.2024 00:00" for day in range(1, 7)], {}),
        ([f"03|0{day}|24" for day in range(1, 7)], {"time_format": "%m|%d|%y"}),
        ([datetime(2024, 3, day, tzinfo=UTC) for day in range(1, 7)], {}),
    ],
    ids=["seconds", "milliseconds", "iso", "day first", "pattern", "datetimes"],
)
def test_times_are_read_in_their_usual_forms(times: list[Any], options: dict[str, Any]) -> None:
    assert read(small(when=times), **options).start == datetime(2024, 3, 1, tzinfo=UTC)


def test_a_time_zone_moves_naive_times_and_sets_local_clocks() -> None:
    log = read(small(), time_zone="Europe/Vienna")
    assert log.start == datetime(2024, 2, 29, 23, tzinfo=UTC)
    assert set(log.events.utc_offset_min.tolist()) == {60}


def test_refused_rows_are_reported_with_reason_and_column() -> None:
    log = read(small(who=[1, None, 2, 2, np.nan, 2]))
    assert (len(log), log.report.events.n_quarantined) == (4, 2)
    assert "user_id" in next(iter(log.report.reasons()))
    assert "'who'" in str(log.report)
    assert len(log.quarantine()) == 2
    assert not log.report.is_clean


def test_a_row_given_twice_is_stored_once() -> None:
    log = read(pd.concat([small(), small().head(1)]))
    assert len(log) == 6
    assert log.report.counts()["repeated, stored once"] == 1


@pytest.mark.parametrize(
    ("frame", "options", "error", "texts"),
    [
        (small(), {"user": "whom"}, SchemaError, ("'whom'", "Did you mean 'who'")),
        (small(), {"user": None}, ConfigError, ("user_id", "name of a column")),
        (small()[["who", "what", "what", "when"]], {}, SchemaError, ("2 columns", "'what'")),
        (small().head(0), {}, NotEnoughData, ("no rows", "filter")),
        (small(who=None), {}, NotEnoughData, ("user_id is 'who'", "All 6 rows")),
        (small(what=[1, "a", 2, "b", 3, "c"]), {}, SchemaError, ("'what'", "int, str", "astype")),
        (small(when=["2024-03-01", *[5] * 5]), {}, SchemaError, ("'when'", "to_datetime")),
        (small(when=list("uvwxyz")), {}, SchemaError, ("'when'", "time_format")),
        (small(), {"time_zone": "Vienna"}, ChronotopeError, ("Vienna",)),
        ([1, 2], {}, ConfigError, ("data frame", "pandas.DataFrame")),
        (small(lat=120.0, lon=16.0), {"lat": "lat", "lon": "lon"}, ChronotopeError, ("lat",)),
    ],
    ids=[
        "wrong name",
        "no name",
        "column twice",
        "empty",
        "no ids",
        "mixed ids",
        "mixed times",
        "no times",
        "no zone",
        "no frame",
        "swapped coordinates",
    ],
)
def test_bad_input_names_the_column_and_the_way_out(
    frame: Any, options: dict[str, Any], error: type[Exception], texts: tuple[str, ...]
) -> None:
    with pytest.raises(error) as caught:
        read(frame, **options)
    assert all(text in str(caught.value) for text in texts), caught.value


def test_times_with_and_without_an_offset_need_a_zone() -> None:
    mixed = small(when=["2024-03-01T10:00+01:00", *["2024-03-02T10:00"] * 5])
    with pytest.raises(SchemaError, match=r"several kinds.*time_zone"):
        read(mixed)
    assert len(read(mixed, time_zone="Europe/Vienna")) == 4  # equal rows are one event


def test_the_log_before_a_moment_has_earlier_events_only(log: ct.Log) -> None:
    earlier = log.before("2024-02-01")
    assert 0 < len(earlier) < len(log)
    assert earlier.end < datetime(2024, 2, 1, tzinfo=UTC)
    with pytest.raises(NotEnoughData, match="begins at"):
        log.before("1999-01-01")


def test_a_frame_is_not_changed(frame: pd.DataFrame) -> None:
    copy = frame.copy(deep=True)
    ct.Log.from_frame(frame, **COLUMNS)
    pd.testing.assert_frame_equal(frame, copy)


def test_a_catalogue_without_ids_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"'sku'.*dropna"):
        ct.Catalog.from_frame(pd.DataFrame({"sku": ["a", None]}), item="sku")


def test_representations_are_html_and_escape_texts(log: ct.Log, city: Any) -> None:
    page = log._repr_html_() + log.report._repr_html_() + city.catalog._repr_html_()
    assert "6,000" in page
    odd = ct.Catalog.from_frame(pd.DataFrame({"i": ["a"], "t": ["<b>x"]}), item="i", title="t")
    assert "&lt;b&gt;x" in odd._repr_html_()


def test_an_unknown_dataset_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="simulated_city"):
        ct.datasets.load("no_such_city")


def test_swapped_coordinates_fail_the_delivery() -> None:
    lat, lon = 16.0 + np.arange(6) / 100, 148.0 + np.arange(6) / 100
    with pytest.raises((ValidationFailed, NotEnoughData)):
        read(small(lat=lon, lon=lat), lat="lat", lon="lon")
