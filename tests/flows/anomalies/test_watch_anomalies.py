"""Each alert is emitted once, also over a restart; flagged events beyond the budget are not."""

from contextlib import closing
from pathlib import Path

import pytest

from chronotope.contracts.errors import StoreError
from chronotope.lake.anomaly_alerts import AnomalyAlerts, FlaggedEvent, StoredAlert
from chronotope.runtime.workspace import Workspace
from flows.anomalies import watch_anomalies
from flows.anomalies.watch_anomalies import DETECTED, AnomalyWatcher, emit_detected


def flag(root: Path, *surprises: float, start: int = 0) -> list[bool]:
    path = Workspace(root).anomaly_alerts("town")
    with closing(AnomalyAlerts(path)) as alerts:
        return [
            alerts.add(FlaggedEvent(f"k{start + number}", "u1", "i1", 86_400, surprise), 2)
            for number, surprise in enumerate(surprises)
        ]


def test_the_budget_of_a_day_goes_to_the_most_surprising(tmp_path: Path) -> None:
    assert flag(tmp_path, 5.0, 6.0, 4.0, 7.0) == [True, True, False, True]
    assert flag(tmp_path, 5.0) == [True]  # a key that is known keeps its answer
    with closing(AnomalyAlerts(Workspace(tmp_path).anomaly_alerts("town"))) as alerts:
        assert [alert.event.surprise for alert in alerts.latest(2)] == [7.0, 4.0]


def test_alerts_are_emitted_once(tmp_path: Path) -> None:
    emitted: list[str] = []

    def watcher() -> AnomalyWatcher:
        return AnomalyWatcher(
            "town", tmp_path, emit_alert=lambda _, alert: emitted.append(alert.event.key)
        )

    watcher().poll()
    flag(tmp_path, 5.0, 6.0, 4.0)
    first = watcher()
    first.poll()
    first.poll()
    assert emitted == ["k0", "k1"]
    flag(tmp_path, 8.0, start=10)
    watcher().poll()  # as after a restart
    assert emitted == ["k0", "k1", "k10"]


def test_the_event_names_user_and_window(monkeypatch: pytest.MonkeyPatch) -> None:
    emitted: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        watch_anomalies, "emit_event", lambda *args, **kwargs: emitted.append((args, kwargs))
    )
    event = FlaggedEvent("k", "u1", "i1", 2 * 86_400, 7.5, ("amount",))
    emit_detected("town", StoredAlert(1, True, event))
    ((args, kwargs),) = emitted
    assert args[0] == DETECTED  # type: ignore[index]
    payload = kwargs["payload"]  # type: ignore[index, call-overload]
    assert (payload["user_id"], payload["reasons"]) == ("u1", ["amount"])
    assert payload["window_start"] == "1970-01-02T00:00:00+00:00"
    assert payload["window_end"] == "1970-01-03T00:00:00+00:00"


def test_a_damaged_log_is_named(tmp_path: Path) -> None:
    path = Workspace(tmp_path).anomaly_alerts("town")
    path.parent.mkdir(parents=True)
    path.write_text("no database", encoding="utf-8")
    with pytest.raises(StoreError, match="log of anomalies"):
        AnomalyWatcher("town", tmp_path).poll()
