"""A delivery with bad rows: what is counted, kept, refused, and told."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.features.snapshot import load_features
from chronotope.lake import Lake
from chronotope.lake.event_labels import EventLabel, EventLabelLog
from chronotope.pipelines.results import SourceLines, TableCounts
from chronotope.runtime.dataset_lock import dataset_lock
from chronotope.runtime.workspace import Workspace
from flows import without_heartbeat
from flows.ingest_events import (
    IngestSettings,
    ingest_events,
    row_counts,
    write_events,
    write_features,
    write_tables,
)
from tests.flows.artifacts import shown_of


@pytest.fixture
def settings(tmp_path: Path) -> IngestSettings:
    return IngestSettings(root=tmp_path / "root")


def test_bad_rows_are_quarantined_and_none_is_lost(
    corner_shop: Path, settings: IngestSettings
) -> None:
    found = write_events.fn(str(corner_shop), settings)
    assert (found.n_read, found.n_good, found.n_quarantined) == (7, 3, 4)
    assert found.reasons["user_id is missing"] == 1
    assert sum(found.reasons.values()) >= 4
    lake = Lake(settings.root / "data" / "lake" / "corner_shop")
    assert len(lake.read("events")) == 3
    assert len(lake.read("quarantine")) == 4


def test_twice_is_once_in_every_table(corner_shop: Path, settings: IngestSettings) -> None:
    for _ in range(2):
        write_tables.fn(str(corner_shop), settings)
        found = write_events.fn(str(corner_shop), settings)
    assert found.n_duplicates == found.n_good == 3
    lake = Lake(settings.root / "data" / "lake" / "corner_shop")
    sizes = {name: len(lake.read(name)) for name in ("events", "items", "quarantine")}
    assert sizes == {"events": 3, "items": 2, "quarantine": 4}


def test_events_are_stored_in_the_buckets_of_the_yaml(
    corner_shop: Path, settings: IngestSettings
) -> None:
    whole = write_events.fn(str(corner_shop), settings)
    other = IngestSettings(root=settings.root / "parted")
    text = corner_shop.read_text(encoding="utf-8")
    corner_shop.write_text(f"{text}\nuser_buckets: 4\n", encoding="utf-8")
    parted = write_events.fn(str(corner_shop), other)
    differing = {"data_docs_url"}
    assert parted.model_dump(exclude=differing) == whole.model_dump(exclude=differing)
    lake, expected = (
        Lake(root / "data" / "lake" / "corner_shop") for root in (other.root, settings.root)
    )
    assert (lake.n_buckets(), expected.n_buckets()) == (4, 1)
    rows, expected_rows = (each.read("events").sort_by("event_id") for each in (lake, expected))
    assert rows.equals(expected_rows)
    for each in (other, settings):  # the lake keeps its number, and the report says so
        again = write_events.fn(str(corner_shop), each)
        assert again.n_duplicates == 3
        told = [finding.observed for finding in again.findings]
        assert any("rebucket" in text for text in told) == (each is settings)


WEATHER = """
context_table:
  format: csv
  path: weather.csv
  columns: {occurred_at: hour}
  context: {rain_mm: rain}
  valid_h: 6
"""


def test_the_weather_reaches_the_features_and_may_be_corrected(
    corner_shop: Path, settings: IngestSettings
) -> None:
    with corner_shop.open("a", encoding="utf-8") as file:
        file.write(WEATHER)

    def rain(*readings: str) -> list[float]:
        (corner_shop.parent / "weather.csv").write_text("\n".join(["hour,rain", *readings]))
        counts = write_tables.fn(str(corner_shop), settings)["context"]
        assert counts.n_read == len(readings)
        write_events.fn(str(corner_shop), settings)
        found = write_features.fn(str(corner_shop), settings)
        log, _ = load_features(found.path)
        return [float(value) for value in log.context["rain_mm"]]

    first, later = "2024-01-01T06:00:00Z,1.5", "2024-01-02T09:00:00Z,2.5"
    # ann at 8 on the first, at 8 on the second (none holds), bob at 9 on the second
    np.testing.assert_array_equal(rain(first, later), [1.5, np.nan, 2.5])
    np.testing.assert_array_equal(rain(first, later.replace("2.5", "9")), [1.5, np.nan, 9.0])


def test_a_catalogue_row_that_fails_is_quarantined(
    corner_shop: Path, settings: IngestSettings
) -> None:
    items = corner_shop.parent / "items.csv"
    items.write_text(f"what,title\n{'x' * 2000},Too long a name\ntea,Green tea\nTotal\n")
    found = write_tables.fn(str(corner_shop), settings)
    lines = SourceLines(n_lines=4, n_header=1, n_row_lines=2, n_rows=2, n_refused=1)
    reasons = {"item_id has 1 to 1024 characters": 1, "1 column instead of 2": 1}
    assert found["items"] == TableCounts(
        n_read=3, n_good=1, n_quarantined=2, reasons=reasons, lines=lines
    )
    kept = Lake(settings.root / "data" / "lake" / "corner_shop").read("quarantine").sort_by("row")
    payloads = [json.loads(payload) for payload in kept["payload"].to_pylist()]
    assert (payloads[0]["source_line"], payloads[0]["source_text"]) == (4, "Total")
    assert payloads[1]["title"] == "Too long a name"


def test_the_lines_of_the_log_are_accounted_for(
    corner_shop: Path, settings: IngestSettings
) -> None:
    n_invalid = write_events.fn(str(corner_shop), settings).n_quarantined
    log = corner_shop.parent / "log.csv"
    head, *rows = log.read_text(encoding="utf-8").splitlines()
    broken = [f"{head}", f"{rows[0]},one,too,many", "", "Total"]
    log.write_text("\n".join([head, *rows, *broken]), encoding="utf-8")
    found = write_events.fn(str(corner_shop), settings)
    assert found.lines is not None
    assert (found.n_read, found.n_quarantined) == (len(rows) + 3, n_invalid + 3)
    assert found.lines.n_lines == 1 + len(rows) + 1 + 3
    shown = found.lines.by_label()
    assert shown.pop("lines of the files") == sum(shown.values())
    quarantine = Lake(settings.root / "data" / "lake" / "corner_shop").read("quarantine")
    payloads = [json.loads(payload) for payload in quarantine["payload"].to_pylist()]
    texts = [payload["source_text"] for payload in payloads if "source_text" in payload]
    assert sorted(texts) == sorted(filter(None, broken))


def test_a_catalogue_that_names_an_item_twice_says_so(
    corner_shop: Path, settings: IngestSettings
) -> None:
    items = corner_shop.parent / "items.csv"
    items.write_text("what,title\ntea,Green tea\ntea,Black tea\nrye,Rye\n")
    counts = write_tables.fn(str(corner_shop), settings)["items"]
    assert (counts.n_read, counts.n_good, counts.n_quarantined) == (3, 2, 1)
    assert counts.reasons == {"an item occurs once": 1}
    stored = Lake(settings.root / "data" / "lake" / "corner_shop").read("items")
    assert sorted(stored["title"].to_pylist()) == ["Green tea", "Rye"]


def test_noise_stays_out_of_features(corner_shop: Path, settings: IngestSettings) -> None:
    write_events.fn(str(corner_shop), settings)
    core = settings.noise.model_copy(update={"min_events": 2})
    found = write_features.fn(str(corner_shop), settings.model_copy(update={"noise": core}))
    assert (found.n_events, found.n_kept, found.dropped["core"]) == (3, 2, 1)
    log, catalog = load_features(found.path)
    assert (len(log.item_idx), catalog.n_items) == (2, 2)  # tea and the unknown
    assert write_features.fn(str(corner_shop), settings).digest != found.digest


def test_an_event_that_a_label_calls_fraud_leaves_the_features_and_may_come_back(
    corner_shop: Path, settings: IngestSettings
) -> None:
    write_events.fn(str(corner_shop), settings)
    lake = Lake(settings.root / "data" / "lake" / "corner_shop")
    event_id = lake.read("events", columns=["event_id"])["event_id"][1].as_py()
    labels = EventLabelLog(Workspace(settings.root).event_labels("corner_shop"))
    kept = []
    for is_anomalous in (True, False):
        labels.append([EventLabel(event_id, is_anomalous)])
        snapshot = write_features.fn(str(corner_shop), settings)
        log, _ = load_features(snapshot.path)
        kept.append((snapshot.dropped.get("labelled anomalous", 0), snapshot.n_kept, len(log)))
    labels.close()
    assert kept == [(1, 2, 2), (0, 3, 3)]
    assert len(lake.read("events")) == 3  # a detector still learns from it


def test_a_snapshot_holds_the_versions_that_it_names(
    corner_shop: Path, settings: IngestSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_events.fn(str(corner_shop), settings)
    lake, read = Lake(settings.root / "data" / "lake" / "corner_shop"), Lake.read

    def overtaken(self: Lake, *told: Any, **more: Any) -> pa.Table:
        found, rows = read(self, *told, **more), read(self, "events")
        later = pa.array([f"later {n}" for n in range(len(rows))])
        ids = rows.schema.get_field_index("event_id")
        lake.merge_events(rows.set_column(ids, rows.schema.field(ids), later))
        return found

    at = lake.table_version("events")
    monkeypatch.setattr(Lake, "read", overtaken)
    found = write_features.fn(str(corner_shop), settings)
    assert (found.data_version, found.n_events) == (f"events@{at}", 3)
    assert lake.version("events") == at.number + 1


@pytest.mark.slow
def test_an_ingestion_waits_for_others_on_its_dataset(
    prefect: None, corner_shop: Path, settings: IngestSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(dataset_lock.__wrapped__.__kwdefaults__, "patience_s", 0.3)  # type: ignore[attr-defined]
    held = dataset_lock(Workspace(settings.root), "corner_shop")
    with held, without_heartbeat(), pytest.raises(StoreError, match="Another run"):
        ingest_events(str(corner_shop), settings)
    assert not (settings.root / "data" / "lake").exists()


def test_bounds_hold() -> None:
    with pytest.raises(ValidationError, match="batch_rows"):
        IngestSettings(batch_rows=1)


@pytest.mark.slow
def test_the_flow_returns_small_json_and_leaves_artifacts(
    prefect: None, corner_shop: Path, settings: IngestSettings
) -> None:
    with without_heartbeat():
        result = ingest_events(str(corner_shop), settings)
    table = row_counts(result.events, result.features)
    assert table["read"] == table["good"] + table["quarantined"] == 7
    assert len(result.model_dump_json()) < 5_000
    told = {f"ingest-corner-shop{each}" for each in ("", "-findings", "-docs")}
    assert shown_of(told) == told
    pages = Path(urlparse(result.events.data_docs_url).path)
    assert pages == (settings.root / "data" / "docs" / "corner_shop" / "index.html").resolve()
    assert pages.is_file()


@pytest.mark.slow
def test_bad_settings_are_not_tried_again(prefect: None, settings: IngestSettings) -> None:
    with without_heartbeat(), pytest.raises(ConfigError, match="No such dataset"):
        ingest_events("nowhere", settings)
