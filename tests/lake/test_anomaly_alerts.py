"""Flagged events and their alert budget."""

from contextlib import closing
from pathlib import Path

import pytest

from chronotope.lake.anomaly_alerts import AnomalyAlerts, FlaggedEvent


def flagged(key: str, surprise: float) -> FlaggedEvent:
    return FlaggedEvent(key, "ann", "tea", 1_700_000_000, surprise)


@pytest.mark.usefixtures("state_store")
def test_the_limit_counts_alerts_where_only_alerts_are_read(tmp_path: Path) -> None:
    with closing(AnomalyAlerts(tmp_path / "anomalies.db")) as alerts:
        surprises = {"a": 9.0, "b": 8.0, "c": 1.0, "d": 0.5}
        added = {name: alerts.add(flagged(name, of), 2) for name, of in surprises.items()}
        assert added == {"a": True, "b": True, "c": False, "d": False}
        assert alerts.add(flagged("a", 0.0), 2)  # a second post changes nothing
        assert [alert.event.key for alert in alerts.latest(2)] == ["d", "c"]
        assert [alert.event.key for alert in alerts.latest(2, alerts_only=True)] == ["b", "a"]
