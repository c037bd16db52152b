"""Refused rows: counted, read again by the rules of today, discarded; none is lost."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.datasets.spec import DatasetSpec
from chronotope.feedback import refused_rows
from chronotope.feedback.anomaly_guard import ANOMALOUS
from chronotope.feedback.refused_rows import (
    count_reasons,
    discard_refused,
    read_refused,
    replay_refused,
)
from chronotope.ingestion import ingest
from chronotope.ingestion.source_batches import delivery_id, read_batches
from chronotope.lake import Lake
from chronotope.pipelines.ingest_checks import batch_check
from tests.feedback.test_intake import SUITES, Cafe, event

LOG = """u,i,t,v
ann,tea,2025-02-03T07:15:00Z,3
ann,bun,2025-02-03T08:15:00Z,2
bob,tea,2025-02-04T07:15:00Z,"3,50"
bob,bun,2025-02-04T08:15:00Z,"1,50"
eve,tea,2025-02-05T07:15:00Z,much
"""
COLUMNS = {"user_id": "u", "item_id": "i", "occurred_at": "t", "value": "v"}


def shop(folder: Path, **more: Any) -> DatasetSpec:
    events = {"format": "csv", "path": str(folder / "log.csv"), "columns": COLUMNS}
    events |= more.pop("events", {})
    about = {"name": "shop", "description": "Guests.", "licence": "ours"}
    return DatasetSpec.model_validate({**about, "events": events, **more})


def deliver(lake: Lake, spec: DatasetSpec) -> None:
    check = batch_check(lake, SUITES)
    run_id = delivery_id(spec)
    ingest(read_batches(spec, 100), row_check=check, lake=lake, run_id=run_id, source=spec.name)


def replay(lake: Lake, spec: DatasetSpec, target: Lake | None = None, **chosen: str) -> Any:
    refused = read_refused(lake, **chosen)
    report = replay_refused(lake, spec, refused, lambda of: batch_check(of, SUITES), target)
    counts = {field.name: getattr(report, field.name) for field in fields(report)}
    of_reasons = counts.pop("reasons")
    n_rows = counts.pop("n_rows")
    assert n_rows == sum(counts.values()) == len(refused)
    return counts | {"reasons": dict(of_reasons)}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    (tmp_path / "log.csv").write_text(LOG, encoding="utf-8")
    lake = Lake(tmp_path / "lake")
    deliver(lake, shop(tmp_path))
    assert (len(lake.read("events")), len(lake.read("quarantine"))) == (2, 3)
    return lake


def test_reasons_are_counted_with_the_latest_example(lake: Lake, tmp_path: Path) -> None:
    (entry,) = count_reasons(read_refused(lake))
    assert (entry.source, entry.reason, entry.n_rows) == ("shop", "value is not a number", 3)
    assert entry.run_id == delivery_id(shop(tmp_path))
    assert json.loads(entry.example)["value"] in {"3,50", "1,50", "much"}
    assert count_reasons(read_refused(lake, reason="no such")) == []
    assert len(read_refused(Lake(lake.root / "none"))) == 0


def test_rows_that_pass_today_are_stored_and_leave_the_quarantine(
    lake: Lake, tmp_path: Path
) -> None:
    repaired = shop(tmp_path, events={"decimal": ","})
    there = Lake(tmp_path / "dry")
    wanted = {"n_new": 2, "n_duplicates": 0, "n_dropped": 0, "n_refused": 1, "n_skipped": 0}
    wanted |= {"reasons": {"value is not a number": 1}}
    assert replay(lake, repaired, there) == wanted
    assert (len(lake.read("events")), len(lake.read("quarantine"))) == (2, 3)  # as before
    assert replay(lake, repaired) == wanted
    assert sorted(lake.read("events")["value"].to_pylist()) == [1.5, 2.0, 3.0, 3.5]
    (left,) = lake.read("quarantine").to_pylist()
    assert json.loads(left["payload"])["value"] == "much"
    assert left["run_id"] == delivery_id(shop(tmp_path))
    deliver(lake, repaired)  # the source again: the same ids
    assert len(lake.read("events")) == 4


def test_a_kill_before_the_release_loses_nothing(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repaired = shop(tmp_path, events={"decimal": ","})

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "release_quarantine", killed)
        with pytest.raises(KeyboardInterrupt):
            replay(lake, repaired)
    assert (len(lake.read("events")), len(lake.read("quarantine"))) == (4, 3)
    counts = replay(lake, repaired)
    assert (counts["n_new"], counts["n_duplicates"], counts["n_refused"]) == (0, 2, 1)
    assert (len(lake.read("events")), len(lake.read("quarantine"))) == (4, 1)


def test_runs_larger_than_a_batch_are_replayed_whole(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refused_rows, "_BATCH_ROWS", 1)
    assert replay(lake, shop(tmp_path, events={"decimal": ","}))["n_new"] == 2
    assert len(lake.read("quarantine")) == 1


def test_filters_of_today_drop_rows(lake: Lake, tmp_path: Path) -> None:
    of_ann = shop(tmp_path, events={"decimal": ",", "keep": {"user_id": {"in": ["ann"]}}})
    counts = replay(lake, of_ann)
    assert (counts["n_new"], counts["n_dropped"]) == (0, 3)
    assert len(lake.read("quarantine")) == 0


def test_a_filter_of_a_column_that_was_not_stored_is_refused(lake: Lake, tmp_path: Path) -> None:
    stray = shop(tmp_path, events={"keep": {"colour": {"in": ["red"]}}})
    with pytest.raises(ConfigError, match="colour"):
        replay(lake, stray)
    assert len(lake.read("quarantine")) == 3


def test_equal_rows_that_are_events_of_their_own_are_not_replayed(
    lake: Lake, tmp_path: Path
) -> None:
    spec = shop(tmp_path, identity=["user_id", "item_id", "occurred_at", "occurrence"])
    with pytest.raises(ConfigError, match="identity: user_id, item_id, occurred_at, occurrence"):
        replay(lake, spec)


def test_lines_other_tables_and_anomalies_are_skipped(lake: Lake, tmp_path: Path) -> None:
    (template,) = lake.read("quarantine").slice(0, 1).to_pylist()
    odd = [
        {"source": "shop.items", "payload": '{"item_id": null}', "reasons": ["item_id is missing"]},
        {"payload": '{"source_line": 4, "source_text": "Total"}', "reasons": ["ragged"]},
        {"reasons": [ANOMALOUS, "unusual gap"]},
    ]
    rows = [{**template, **more, "row": 100 + n} for n, more in enumerate(odd)]
    lake.quarantine(pa.Table.from_pylist(rows, schema=lake.read("quarantine").schema))
    counts = replay(lake, shop(tmp_path, events={"decimal": ","}))
    assert (counts["n_new"], counts["n_refused"], counts["n_skipped"]) == (2, 1, 3)
    assert len(lake.read("quarantine")) == 4


def test_discarded_rows_are_gone(lake: Lake) -> None:
    assert discard_refused(lake, read_refused(lake, reason="no such")) == 0
    assert discard_refused(lake, read_refused(lake, reason="not a number")) == 3
    assert len(lake.read("quarantine")) == 0


def test_posted_rows_are_replayed_as_they_were_posted(tmp_path: Path) -> None:
    cafe = Cafe(tmp_path)
    lines = [json.dumps(event("ann", 1, value="3")), json.dumps(event("ann", 2, value="much"))]
    cafe.drop("a.jsonl", [*lines, "not json"])
    report = cafe.take()
    assert (report.n_new, report.n_quarantined) == (1, 2)
    counts = replay(cafe.lake, cafe.intake.spec)
    assert (counts["n_refused"], counts["n_skipped"]) == (1, 1)
    assert counts["reasons"] == {"value is not a number": 1}
    assert len(cafe.lake.read("quarantine")) == 2
