"""Flagged events of a service, and which of them fit the alert budget of their day.

A SQLite file in WAL mode, shared by the workers of the service and by what watches it.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Final

from chronotope.runtime.private_files import store_errors
from chronotope.runtime.state import open_state, write_transaction

_SUBJECT: Final = "The log of anomalies"
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS alerts (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    day INTEGER NOT NULL,
    surprise REAL NOT NULL,
    is_alert INTEGER NOT NULL,
    event TEXT NOT NULL
)
"""
_INDEX: Final = "CREATE INDEX IF NOT EXISTS alerts_of_day ON alerts (day, is_alert, surprise)"
_KNOWN: Final = "SELECT is_alert FROM alerts WHERE key = ?"
_HIGHER: Final = "SELECT count(*) FROM alerts WHERE day = ? AND is_alert = 1 AND surprise >= ?"
_INSERT: Final = "INSERT INTO alerts (key, day, surprise, is_alert, event) VALUES (?, ?, ?, ?, ?)"
_LATEST: Final = (
    "SELECT seq, is_alert, event FROM alerts WHERE is_alert >= ? ORDER BY seq DESC LIMIT ?"
)
_AFTER: Final = "SELECT seq, is_alert, event FROM alerts WHERE seq > ? ORDER BY seq LIMIT ?"
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class FlaggedEvent:
    """An event beyond the threshold of the detector.

    Attributes:
        key: Key with which it was posted.
        user_id: User.
        item_id: Item.
        occurred_s: UTC seconds since 1970.
        surprise: -log p among the training events.
        reasons: Features that raise it, the strongest first.
        lat: Latitude, degrees; None if unknown.
        lon: Longitude, degrees.
    """

    key: str
    user_id: str
    item_id: str
    occurred_s: int
    surprise: float
    reasons: tuple[str, ...] = ()
    lat: float | None = None
    lon: float | None = None


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """A flagged event as stored.

    Attributes:
        seq: Position; increases with every flagged event.
        is_alert: Whether it was among the most surprising of its day when it came.
        event: The event.
    """

    seq: int
    is_alert: bool
    event: FlaggedEvent = field(repr=False)


class AnomalyAlerts:
    """Flagged events of one dataset; threads and processes may share the file.

    Attributes:
        path: The SQLite file.
    """

    def __init__(self, database_path: Path) -> None:
        """Open the file; it is created if it is missing.

        Raises:
            StoreError: The file cannot be opened, or is no such log.
        """
        self.path, self._lock = database_path, Lock()
        with store_errors(_SUBJECT, self.path):
            self._connection = open_state(database_path, (_TABLE, _INDEX), synchronous="NORMAL")

    def add(self, event: FlaggedEvent, alerts_per_day: int) -> bool:
        """Store a flagged event once; returns whether it is an alert.

        It is one if fewer than ``alerts_per_day`` alerts of its day are as surprising.

        Args:
            event: The event.
            alerts_per_day: Alert budget of a day, UTC.
        """
        alert_day = event.occurred_s // _DAY_S
        with (
            self._lock,
            store_errors(_SUBJECT, self.path),
            write_transaction(self._connection),
        ):
            known_row = self._connection.execute(_KNOWN, (event.key,)).fetchone()
            if known_row is None:
                (n_higher,) = self._connection.execute(
                    _HIGHER, (alert_day, event.surprise)
                ).fetchone()
                is_alert = bool(n_higher < alerts_per_day)
                alert_row = (
                    event.key,
                    alert_day,
                    event.surprise,
                    int(is_alert),
                    json.dumps(asdict(event)),
                )
                self._connection.execute(_INSERT, alert_row)
            else:
                is_alert = bool(known_row[0])
        return is_alert

    def latest(self, limit: int, *, alerts_only: bool = False) -> list[StoredAlert]:
        """The latest flagged events, or those within the alert budget alone, newest first."""
        return self._read(_LATEST, (int(alerts_only), limit))

    def after(self, seq: int, limit: int = 1_000) -> list[StoredAlert]:
        """Flagged events after a position, in their order."""
        return self._read(_AFTER, (seq, limit))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _read(self, sql_query: str, query_values: tuple[int, ...]) -> list[StoredAlert]:
        with self._lock, store_errors(_SUBJECT, self.path):
            alert_rows = self._connection.execute(sql_query, query_values).fetchall()
        return [
            StoredAlert(seq, bool(is_alert), _event(event_text))
            for seq, is_alert, event_text in alert_rows
        ]


def _event(event_text: str) -> FlaggedEvent:
    fields: dict[str, Any] = json.loads(event_text)
    return FlaggedEvent(**{**fields, "reasons": tuple(fields["reasons"])})
