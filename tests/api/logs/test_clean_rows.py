"""Frames whose rows all pass become a log without a lake, equal to that of an ingestion."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import chronotope as ct
from chronotope.api.logs.frames import read_columns
from chronotope.api.logs.log_contents import MemoryEvents
from chronotope.api.logs.log_store import LogStore, normalised_batches, suites_dir
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Catalog, EventLog

COLUMNS: dict[str, Any] = {"user": "who", "item": "what", "time": "when"}


def visits(n_rows: int = 400, n_days: int = 90, **columns: Any) -> pd.DataFrame:
    """Random events of 30 users with 50 items."""
    rng = np.random.default_rng(7)
    seconds = rng.choice(n_days * 86_400, n_rows, replace=False)
    frame = {
        "who": rng.integers(8, 38, n_rows),
        "what": rng.integers(90, 140, n_rows),
        "when": pd.Timestamp("2024-02-01") + pd.to_timedelta(seconds, "s"),
        "paid": np.where(rng.random(n_rows) < 0.1, np.nan, rng.random(n_rows)),
    }
    return pd.DataFrame(frame | columns)


def ingested(frame: pd.DataFrame, log: ct.Log) -> ct.Log:
    """The same frame through a lake."""
    names = {"user_id": "who", "item_id": "what", "occurred_at": "when", "value": "paid"}
    kept = {name: column for name, column in names.items() if name in log.spec.events.columns}  # type: ignore[union-attr]
    context = {name: name for name in log.spec.known_before}
    rows = read_columns(frame, kept | context, "log")
    return ct.Log.of_batches(log.spec, normalised_batches(log.spec, rows), id_types=log.id_types)


def assert_equal_events(log: EventLog, other: EventLog) -> None:
    for field in fields(EventLog):
        if field.name not in ("context", "item_context"):
            found, expected = getattr(log, field.name), getattr(other, field.name)
            np.testing.assert_array_equal(found, expected, err_msg=field.name)
            assert found.dtype == expected.dtype, field.name
    assert list(log.context) == list(other.context)
    for name, values in log.context.items():
        np.testing.assert_array_equal(values, other.context[name])


def assert_equal_catalogs(catalog: Catalog, other: Catalog) -> None:
    for name in ("users", "items", "places", "categories"):
        assert getattr(catalog, name).ids.equals(getattr(other, name).ids), name
    for name in ("item_category", "item_lat", "item_lon", "place_lat", "place_lon", "item_title"):
        np.testing.assert_array_equal(getattr(catalog, name), getattr(other, name), err_msg=name)
    assert catalog.items_are_places == other.items_are_places


FRAMES: dict[str, tuple[pd.DataFrame, dict[str, Any]]] = {
    "numbers": (visits(), {}),
    "texts": (visits().assign(who=lambda f: "ü" + f.who.astype(str)), {"value": "paid"}),
    "check-ins": (visits(), {"place": "what", "time_zone": "Europe/Vienna"}),
    "zone": (visits(n_rows=3_000, n_days=30), {"time_zone": "America/New_York"}),
    "baskets": (visits().assign(when="2024-03-01T10:00"), {}),
    "days": (visits().assign(when=lambda f: f.when.dt.floor("D")), {}),
    "sub-second": (visits().assign(when=lambda f: f.when + pd.Timedelta("123456us")), {}),
    "epochs": (visits().assign(when=lambda f: f.when.astype("int64") // 10**6), {}),
    "categories": (visits().assign(what=lambda f: f.what.astype(str).astype("category")), {}),
    "context": (visits(), {"value": "paid", "context": ("paid",)}),
    "bot": (
        pd.concat(
            [
                visits(n_rows=50),
                visits(n_rows=3_700).assign(
                    who=1, when=pd.date_range("2024-02-03", periods=3_700, freq="900ms")
                ),
            ]
        ),
        {},
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_the_numeric_log_is_that_of_an_ingestion(name: str) -> None:
    frame, options = FRAMES[name]
    frame = frame.drop_duplicates(["who", "what", "when"])
    log = ct.Log.from_frame(frame, **COLUMNS, **options)
    other = ingested(frame, log)
    assert isinstance(log.contents, MemoryEvents)
    assert_equal_events(log.events, other.events)
    assert_equal_catalogs(log.index, other.index)
    assert log.features.noise == other.features.noise
    assert (log.start, log.end, log.users()) == (other.start, other.end, other.users())
    assert (repr(log), str(log.report)) == (repr(other), str(other.report))
    assert log.report.events.findings == other.report.events.findings
    by_id = [("event_id", "ascending")]
    assert log.rows.sort_by(by_id).equals(other.rows.sort_by(by_id).select(log.rows.column_names))
    assert log.to_pandas().equals(other.to_pandas())


def test_rows_given_twice_are_found_and_stored_once() -> None:
    frame = pd.concat([visits(), visits().head(3)])
    log = ct.Log.from_frame(frame, **COLUMNS)
    assert isinstance(log.contents, MemoryEvents)
    assert (len(log), len(log.events)) == (400, 400)
    assert log.report.counts()["repeated, stored once"] == 3
    assert not log.report.is_clean


def test_no_lake_is_written_until_something_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    log = ct.Log.from_frame(visits(), **COLUMNS)
    with monkeypatch.context() as patch:
        patch.setattr(LogStore, "temporary_store", None)
        earlier = log.before("2024-03-01")
        assert len(earlier.events) == len(earlier) < len(log)
        assert "quarantined: 0" in str(log.report)
        assert "400" in log._repr_html_()
        assert len(log.quarantine()) == 0
    assert len(log.store.lake.read("events")) == 400
    assert log.store.is_temporary


def test_the_log_keeps_its_values_when_the_frame_is_changed() -> None:
    frame = visits()
    log = ct.Log.from_frame(frame, **COLUMNS, value="paid")
    expected = ct.Log.from_frame(visits(), **COLUMNS, value="paid").events
    for column in ("who", "what", "paid"):
        np.asarray(frame[column]).setflags(write=True)
        frame.loc[:, column] = 1
    frame.loc[:, "when"] = pd.Timestamp("2024-01-01")
    assert_equal_events(log.events, expected)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"what": [None, *range(399)]}, "item_id is missing"),
        ({"when": [pd.NaT, *[pd.Timestamp("2024-02-01")] * 399]}, "occurred_at is missing"),
        ({"when": [pd.Timestamp("1970-01-01"), *[pd.Timestamp("2024-02-01")] * 399]}, "1990"),
        ({"paid": [np.inf, *[1.0] * 399]}, "value is not finite"),
        ({"who": ["NULL", *["u"] * 399]}, "user_id is missing"),
    ],
    ids=["item", "time", "old", "infinite", "word"],
)
def test_a_row_that_fails_a_check_is_quarantined_as_by_ingest(
    columns: dict[str, Any], reason: str
) -> None:
    log = ct.Log.from_frame(visits().assign(**columns), **COLUMNS, value="paid")
    assert not isinstance(log.contents, MemoryEvents)
    assert log.report.events.n_quarantined == 1
    assert reason in str(log.report)


def test_lakes_elsewhere_are_refused_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHRONOTOPE_LAKE_URL", "s3://lakes")
    with pytest.raises(ConfigError, match="object store"):
        ct.Log.from_frame(visits(), **COLUMNS)


def test_suites_of_the_project_hold_for_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = suites_dir(Path()) / "events.json"
    (tmp_path / "expectations").mkdir()
    text = suite.read_text(encoding="utf-8").replace("631152000", "1708000000")
    (tmp_path / "expectations/events.json").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    n_early = int((visits()["when"] < pd.Timestamp(1_708_000_000, unit="s")).sum())
    assert ct.Log.from_frame(visits(), **COLUMNS).report.events.n_quarantined == n_early > 0


def test_polars_frames_are_read_as_they_are() -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    frame = visits()
    columns = {name: frame[name].to_numpy() for name in ("who", "what", "when", "paid")}
    log = ct.Log.from_frame(polars.DataFrame(columns), **COLUMNS)
    assert isinstance(log.contents, MemoryEvents)
    assert_equal_events(log.events, ct.Log.from_frame(frame, **COLUMNS).events)
    with pytest.raises(ConfigError, match=r"collect\(\) first"):
        ct.Log.from_frame(polars.DataFrame(columns).lazy(), **COLUMNS)
    missing = polars.DataFrame(columns).with_columns(
        who=polars.when(polars.col("who") > 30).then(None).otherwise(polars.col("who"))
    )
    assert ct.Log.from_frame(missing, **COLUMNS).report.events.n_quarantined == (
        int((frame["who"] > 30).sum())
    )
