"""The flow removes what is past retention, and leaves a dataset without one alone."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from chronotope.contracts.schemas import EVENTS
from chronotope.lake import Lake
from chronotope.lake.privacy import record_privacy
from chronotope.privacy import PrivacySettings
from chronotope.runtime.workspace import Workspace
from flows.privacy.expire_data import RetentionSettings, expire_data

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]


def test_the_flow_follows_the_datasets_retention(tmp_path: Path) -> None:
    lake, now = Lake(Workspace(tmp_path).lake("cafe")), datetime.now(UTC)
    same = {"user_id": "ann", "item_id": "tea", "event_type": "view"}
    rows = [
        same | {"event_id": name, "occurred_at": now - timedelta(days=days)}
        for name, days in (("old", 400), ("young", 1))
    ]
    lake.merge_events(pa.Table.from_pylist(rows, schema=EVENTS))
    settings = RetentionSettings(root=tmp_path)
    assert expire_data("cafe", settings) is None
    assert len(lake.read("events")) == 2
    record_privacy(lake, PrivacySettings(retain_days=365), "cafe")
    report = expire_data("cafe", settings)
    assert report is not None
    assert report.n_removed == 1
    assert lake.read("events")["event_id"].to_pylist() == ["young"]
