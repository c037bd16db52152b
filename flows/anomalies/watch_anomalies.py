"""Watcher of a service's alerts, which emits an event for each."""

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from prefect.events import emit_event

from chronotope.lake.anomaly_alerts import AnomalyAlerts, StoredAlert
from chronotope.runtime.state import (
    read_checked_document,
    state_exists,
    write_checked_document,
)
from chronotope.runtime.workspace import Workspace

DETECTED: Final = "anomaly.detected"
"""Name of the event of a flagged event within the alert budget."""

POSITION_FILE: Final = "anomalies_emitted.json"
_WINDOW_S: Final = 86_400


def emit_detected(dataset: str, alert: StoredAlert) -> None:
    """Emit the event ``anomaly.detected`` with the user and the window that was judged.

    Args:
        dataset: Name of the dataset.
        alert: The alert.
    """
    event = alert.event
    emit_event(
        DETECTED,
        {
            "prefect.resource.id": f"chronotope.dataset.{dataset}",
            "prefect.resource.name": dataset,
        },
        payload={
            "user_id": event.user_id,
            "item_id": event.item_id,
            "key": event.key,
            "score": event.surprise,
            "reasons": list(event.reasons),
            "window_start": _iso(event.occurred_s - _WINDOW_S),
            "window_end": _iso(event.occurred_s),
        },
    )


class AnomalyWatcher:
    """Watcher that emits each alert; the position survives a restart.

    Attributes:
        dataset: Name of the dataset.
        emit: Emits the event; called with the dataset and the alert.
    """

    def __init__(
        self,
        dataset: str,
        root: Path,
        *,
        emit_alert: Callable[[str, StoredAlert], None] = emit_detected,
    ) -> None:
        """Create a watcher.

        Args:
            dataset: Name of the dataset.
            root: Project root.
            emit_alert: Called with the dataset and the alert.
        """
        self.dataset, self.emit = dataset, emit_alert
        self._alerts_path = Workspace(root).anomaly_alerts(dataset)
        self._position_path = self._alerts_path.with_name(POSITION_FILE)

    def poll(self) -> None:
        """Emit the alerts since the last poll; one may be emitted twice after a kill."""
        if not state_exists(self._alerts_path):
            return
        last_position = self._position()
        with closing(AnomalyAlerts(self._alerts_path)) as anomaly_alerts:
            new_alerts = anomaly_alerts.after(last_position)
        for alert in new_alerts:
            if alert.is_alert:
                self.emit(self.dataset, alert)
        if new_alerts:
            write_checked_document(self._position_path, {"seq": new_alerts[-1].seq})

    def _position(self) -> int:
        stored_position = read_checked_document(
            self._position_path,
            subject="The position of the emitted alerts",
            way_out=f"Delete {self._position_path}: alerts are emitted again",
        )
        return 0 if stored_position is None else int(str(stored_position["seq"]))


def _iso(utc_s: int) -> str:
    return datetime.fromtimestamp(utc_s, UTC).isoformat()
