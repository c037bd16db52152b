"""The interaction log: what users did and were shown, once each, durable when acknowledged.

A SQLite file in WAL mode whose commits reach the disk (``synchronous=FULL``) before
``append`` returns. The key of a record makes it idempotent: the first one stays. Other users of
the machine cannot read the file.
"""

import json
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.errors import DataError, StoreError
from chronotope.runtime.private_files import private_database

Kind = Literal["event", "impression"]

_TABLE = """
CREATE TABLE IF NOT EXISTS interactions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('event', 'impression')),
    payload TEXT NOT NULL,
    received_at TEXT NOT NULL
)
"""
_INSERT = "INSERT OR IGNORE INTO interactions (key, kind, payload, received_at) VALUES (?, ?, ?, ?)"
_READ = """
SELECT seq, key, kind, payload, received_at FROM interactions
WHERE seq > ? AND (? IS NULL OR kind = ?) ORDER BY seq LIMIT ?
"""
_COUNT = "SELECT count(*) FROM interactions WHERE seq > ? AND (? IS NULL OR kind = ?)"
_WAIT_S = 60.0  # for another process that writes


class Interaction(BaseModel):
    """Something to remember."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(min_length=1, max_length=200, description="The same key counts once.")
    kind: Kind = Field(description="What a user did, or what was shown.")
    payload: dict[str, Any] = Field(description="What happened, as JSON.")


@dataclass(frozen=True, slots=True)
class StoredInteraction:
    """A remembered interaction.

    Attributes:
        seq: Its position; later ones have larger numbers.
        key: Its idempotency key.
        kind: ``event`` or ``impression``.
        payload: What happened.
        received_at: When it was first acknowledged, UTC.
    """

    seq: int
    key: str
    kind: Kind
    payload: dict[str, Any]
    received_at: datetime


class InteractionLog:
    """One dataset's log; threads may share it, processes may open the same file."""

    def __init__(self, database_path: Path) -> None:
        """Open the log, creating it when new; ``identity`` then tells it from every other one.

        Args:
            database_path: The SQLite file.

        Raises:
            StoreError: It cannot be opened or is no such log.
        """
        self.path = database_path
        self._lock, self._reading_lock = Lock(), Lock()
        with self._refusals():
            private_database(database_path)
            self._connection, self._reading = _connected(database_path), _connected(database_path)
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=FULL")
                self._connection.execute(_TABLE)
                self.identity = self._identified()
            except sqlite3.Error:
                self.close()
                raise

    def append(self, records: Sequence[Interaction]) -> int:
        """Remember records, all or none; they are on the disk when this returns.

        Returns:
            How many were new.

        Raises:
            DataError: A payload is no JSON.
            StoreError: The log could not be written.
        """
        received_at = datetime.now(UTC).isoformat()
        record_rows = [
            (record.key, record.kind, _as_json(record), received_at) for record in records
        ]
        with self._lock, self._refusals():
            n_before = self._connection.total_changes
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(_INSERT, record_rows)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            return self._connection.total_changes - n_before

    def read(self, after: int, limit: int, kind: Kind | None = None) -> list[StoredInteraction]:
        """Records after a position, in the order they came.

        Args:
            after: Only larger ``seq`` are read; 0 starts at the beginning.
            limit: At most so many.
            kind: Only this kind.
        """
        record_rows = self.fetch(_READ, (after, kind, kind, limit))
        return [
            StoredInteraction(
                seq, key, record_kind, json.loads(payload), datetime.fromisoformat(received_at)
            )
            for seq, key, record_kind, payload, received_at in record_rows
        ]

    def last(self) -> int:
        """Position of the latest record; 0 if there is none."""
        return int(self.fetch("SELECT coalesce(max(seq), 0) FROM interactions")[0][0])

    def count(self, after: int = 0, kind: Kind | None = None) -> int:
        """Number of records.

        Args:
            after: Only those of a larger ``seq``.
            kind: Only this kind.
        """
        return int(self.fetch(_COUNT, (after, kind, kind))[0][0])

    def close(self) -> None:
        """Close the file; what was acknowledged stays."""
        with self._lock, self._reading_lock:
            self._connection.close()
            self._reading.close()

    def fetch(self, sql_query: str, query_values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query on the table ``interactions``, for whoever wants columns of many.

        Args:
            sql_query: SQL that reads.
            query_values: For its question marks.
        """
        with self._reading_lock, self._refusals():  # a reader waits for no writer
            return self._reading.execute(sql_query, query_values).fetchall()

    def _identified(self) -> int:
        """A number of its own, drawn when it was new: the same for all who open the file."""
        self._connection.execute("BEGIN IMMEDIATE")
        (log_number,) = self._connection.execute("PRAGMA user_version").fetchone()
        if not log_number:
            log_number = 1 + secrets.randbelow(2**31 - 1)
            self._connection.execute(f"PRAGMA user_version = {log_number}")
        self._connection.execute("COMMIT")
        return int(log_number)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                "The interaction log cannot be used",
                received=f"{self.path}: {error}",
                way_out="Check that the folder is writable and the disk is not full",
            ) from error


def _connected(database_path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        database_path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
    )


def _as_json(record: Interaction) -> str:
    try:
        return json.dumps(record.payload, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise DataError(
            "The payload of an interaction is no JSON", received=f"{record.key}: {error}"
        ) from error
