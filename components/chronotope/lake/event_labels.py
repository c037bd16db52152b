"""Outcomes of events that were posted to a service: durable, append-only, shared by its workers.

A SQLite file in WAL mode whose commits reach the disk (``synchronous=FULL``) before ``append``
returns, beside the interaction log. The latest label of an event counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Final, Self

from chronotope.runtime.private_files import store_errors
from chronotope.runtime.state import open_state, state_exists, write_transaction

KEY_PREFIX: Final = "key:"
"""Prefix of labels whose event is named by its key in the interaction log, not by its id."""

_SUBJECT: Final = "The log of labels"
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS event_labels (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL,
    is_anomalous INTEGER NOT NULL,
    labelled_at TEXT NOT NULL
)
"""
_INDEX: Final = "CREATE INDEX IF NOT EXISTS labels_of_event ON event_labels (event_id, seq)"
_INSERT: Final = "INSERT INTO event_labels (event_id, is_anomalous, labelled_at) VALUES (?, ?, ?)"
_LATEST: Final = (
    "SELECT is_anomalous FROM event_labels WHERE event_id = ? ORDER BY seq DESC LIMIT 1"
)
_LAST: Final = "SELECT coalesce(max(seq), 0) FROM event_labels"
_READ: Final = "SELECT event_id, is_anomalous FROM event_labels WHERE seq > ? ORDER BY seq"


@dataclass(frozen=True, slots=True)
class EventLabel:
    """Outcome of one event.

    Attributes:
        event_id: The event's id, or ``KEY_PREFIX`` and its key in the interaction log.
        is_anomalous: Whether it was not its user's.
    """

    event_id: str
    is_anomalous: bool


class EventLabelLog:
    """Log of labels of one dataset; threads and processes may share the file.

    Attributes:
        path: The SQLite file.
    """

    def __init__(self, database_path: Path) -> None:
        """Open the log; the file is created if it is missing.

        Raises:
            StoreError: The file cannot be opened, or is no such log.
        """
        self.path, self._lock = database_path, Lock()
        with store_errors(_SUBJECT, self.path):
            self._connection = open_state(database_path, (_TABLE, _INDEX))

    def append(self, labels: Sequence[EventLabel]) -> int:
        """Append labels in one transaction; they are on the disk when this returns.

        Returns:
            Number of labels that said something new of their event.

        Raises:
            StoreError: The log could not be written.
        """
        labelled_at, n_new = datetime.now(UTC).isoformat(), 0
        with (
            self._lock,
            store_errors(_SUBJECT, self.path),
            write_transaction(self._connection),
        ):
            for event_label in labels:
                latest_label = self._connection.execute(_LATEST, (event_label.event_id,)).fetchone()
                if latest_label is None or bool(latest_label[0]) != event_label.is_anomalous:
                    label_row = (
                        event_label.event_id,
                        int(event_label.is_anomalous),
                        labelled_at,
                    )
                    self._connection.execute(_INSERT, label_row)
                    n_new += 1
        return n_new

    def read(self, after: int = 0) -> dict[str, bool]:
        """Whether each labelled event is anomalous, by event id.

        Args:
            after: Position; 0 reads from the beginning.
        """
        with self._lock, store_errors(_SUBJECT, self.path):
            label_rows = self._connection.execute(_READ, (after,)).fetchall()
        return {str(event_id): bool(is_anomalous) for event_id, is_anomalous in label_rows}

    def last(self) -> int:
        """Position of the latest label; 0 if there is none."""
        with self._lock, store_errors(_SUBJECT, self.path):
            (last_seq,) = self._connection.execute(_LAST).fetchone()
        return int(last_seq)

    def close(self) -> None:
        """Close the file; acknowledged labels are durable."""
        with self._lock:
            self._connection.close()


@dataclass(frozen=True, slots=True)
class AnomalousEvents:
    """Events that a label calls anomalous: they are nobody's history.

    Attributes:
        event_ids: Their ids in the lake.
        keys: Keys of those that are named by their key in the interaction log.
    """

    event_ids: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()

    @classmethod
    def of_labels(cls, event_labels: Mapping[str, bool]) -> Self:
        """Events by the latest label of each.

        Args:
            event_labels: Result of ``EventLabelLog.read``.
        """
        names = [name for name, is_anomalous in event_labels.items() if is_anomalous]
        keys = {name.removeprefix(KEY_PREFIX) for name in names if name.startswith(KEY_PREFIX)}
        event_ids = {name for name in names if not name.startswith(KEY_PREFIX)}
        return cls(frozenset(event_ids), frozenset(keys))


def read_event_labels(database_path: Path) -> dict[str, bool]:
    """Labels of a dataset by event id; none where nothing was posted.

    Args:
        database_path: The SQLite file.
    """
    if not state_exists(database_path):
        return {}
    label_log = EventLabelLog(database_path)
    try:
        return label_log.read()
    finally:
        label_log.close()
