"""Interaction log: posted events and shown impressions, idempotent and durable.

A SQLite file in WAL mode whose commits reach the disk (``synchronous=FULL``) before ``append``
returns, or a schema of the state database (``runtime.state``). Records are idempotent by key: the
first record with a key is kept. Other users of the machine cannot read the file.

Positions become visible in their order: SQLite and the database have one writer at a time.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts import columns as c
from chronotope.contracts.errors import DataError
from chronotope.lake.privacy.user_lists import UserList
from chronotope.runtime.private_files import store_errors
from chronotope.runtime.state import open_state, store_identity, write_transaction

Kind = Literal["event", "impression"]

_SUBJECT = "The interaction log"
_TABLE = """
CREATE TABLE IF NOT EXISTS interactions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('event', 'impression')),
    payload TEXT NOT NULL,
    received_at TEXT NOT NULL
)
"""
EXCLUDED_TABLE = """
CREATE TABLE IF NOT EXISTS excluded_users (digest TEXT PRIMARY KEY, digest_key TEXT NOT NULL)
"""
_TABLES = (_TABLE, EXCLUDED_TABLE)
_N_EXCLUDED = "SELECT count(*) FROM excluded_users"
_READ_EXCLUDED = "SELECT digest, digest_key FROM excluded_users"
EXCLUDE = (
    "INSERT INTO excluded_users (digest, digest_key) VALUES (?, ?) "
    "ON CONFLICT (digest) DO UPDATE SET digest_key = excluded.digest_key"
)
"""Statement of an erasure: no process appends a record of this user any more, whatever it knows."""

_INSERT = (
    "INSERT INTO interactions (key, kind, payload, received_at) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (key) DO NOTHING"
)
_READ = """
SELECT seq, key, kind, payload, received_at FROM interactions
WHERE seq > ? AND (CAST(? AS TEXT) IS NULL OR kind = ?) ORDER BY seq LIMIT ?
"""
_COUNT = "SELECT count(*) FROM interactions WHERE seq > ? AND (CAST(? AS TEXT) IS NULL OR kind = ?)"


class Interaction(BaseModel):
    """One record to append: an event or an impression."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(
        min_length=1,
        max_length=200,
        description="Idempotency key: a second record with the same key is ignored.",
    )
    kind: Kind = Field(description="event: an action of a user; impression: a shown list.")
    payload: dict[str, Any] = Field(description="Fields of the record, as JSON.")


@dataclass(frozen=True, slots=True)
class StoredInteraction:
    """A stored record of the log.

    Attributes:
        seq: Position in the log; increases with every record.
        key: Idempotency key.
        kind: ``event`` or ``impression``.
        payload: Fields of the record.
        received_at: Time of the first acknowledgement, UTC.
    """

    seq: int
    key: str
    kind: Kind
    payload: dict[str, Any]
    received_at: datetime


class InteractionLog:
    """Interaction log of one dataset.

    Threads may share an instance, and several processes may open the same log.

    Attributes:
        path: The SQLite file, or name of the log in the state database.
        identity: Random number that was drawn when the log was created; it distinguishes this
            log from every other one.
    """

    def __init__(self, database_path: Path) -> None:
        """Open the log; it is created if it is missing.

        Args:
            database_path: The SQLite file, or name of the log in the state database.

        Raises:
            StoreError: The log cannot be opened, or the file is not an interaction log.
        """
        self.path = database_path
        self._lock, self._reading_lock = Lock(), Lock()
        self._excluded_users: UserList | None = None
        with store_errors(_SUBJECT, self.path):
            self._connection = open_state(database_path, _TABLES)
            try:
                self._reading = open_state(database_path, _TABLES)
                self.identity = store_identity(self._connection)
            except BaseException:
                self._connection.close()
                raise

    @property
    def is_sqlite(self) -> bool:
        """Whether ``fetch`` has the functions of SQLite."""
        return isinstance(self._reading, sqlite3.Connection)

    def append(self, records: Sequence[Interaction], *, resolution_min: int | None = None) -> int:
        """Append records in one transaction; they are on the disk when this returns.

        Records of users who were erased are left out: the list is read in the transaction, so a
        service that does not know of an erasure yet cannot bring anybody back.

        Args:
            records: The records.
            resolution_min: Minutes to which the time of arrival is rounded down; None stores it.

        Returns:
            Number of records whose key was new.

        Raises:
            DataError: A payload cannot be represented as JSON.
            StoreError: The log could not be written.
        """
        received_at = _rounded_down(datetime.now(UTC), resolution_min).isoformat()
        record_rows = [
            (record.key, record.kind, _as_json(record), received_at) for record in records
        ]
        with self._lock, store_errors(_SUBJECT, self.path):
            with write_transaction(self._connection):
                is_excluded = self._excluded_mask(records)
                included_rows = [
                    record_row
                    for record_row, excluded in zip(record_rows, is_excluded, strict=True)
                    if not excluded
                ]
                inserted = self._connection.executemany(_INSERT, included_rows)
            return inserted.rowcount if included_rows else 0

    def excludes(self, user_id: str) -> bool:
        """Whether records of a user were left out, as of the last ``append``.

        Args:
            user_id: Id of the user as it is stored.
        """
        return self._excluded_users is not None and user_id in self._excluded_users

    def _excluded_mask(self, records: Sequence[Interaction]) -> list[bool]:
        """Whether each record is of a user who was erased."""
        (n_excluded,) = self._connection.execute(_N_EXCLUDED).fetchone()
        if not n_excluded:
            return [False] * len(records)
        if self._excluded_users is None or len(self._excluded_users.digests) != n_excluded:
            digest_rows = self._connection.execute(_READ_EXCLUDED).fetchall()
            digests = frozenset(digest for digest, _ in digest_rows)
            self._excluded_users = UserList(digest_rows[0][1], digests)
        return [self.excludes(str(record.payload.get(c.USER_ID, ""))) for record in records]

    def read(self, after: int, limit: int, kind: Kind | None = None) -> list[StoredInteraction]:
        """Records after a position, in the order of the log.

        Args:
            after: Position; records with a larger ``seq`` are read. 0 reads from the beginning.
            limit: Maximum number of records.
            kind: Kind of the records; None reads both.
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
        """Number of records after a position.

        Args:
            after: Position; records with a larger ``seq`` are counted.
            kind: Kind of the records; None counts both.
        """
        return int(self.fetch(_COUNT, (after, kind, kind))[0][0])

    def close(self) -> None:
        """Close the log; acknowledged records are durable."""
        with self._lock, self._reading_lock:
            self._connection.close()
            self._reading.close()

    def fetch(self, sql_query: str, query_values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows of a SQL query on the table ``interactions``, for bulk reads; ``?`` placeholders.

        Args:
            sql_query: SELECT statement.
            query_values: Values of its placeholders.

        Raises:
            StoreError: The log cannot be read.
        """
        # in WAL mode, and in Postgres, readers do not wait for the writer
        with self._reading_lock, store_errors(_SUBJECT, self.path):
            return self._reading.execute(sql_query, query_values).fetchall()


def _rounded_down(moment: datetime, resolution_min: int | None) -> datetime:
    """A time as a multiple of some minutes of its day; the time itself for None."""
    if resolution_min is None:
        return moment
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // timedelta(minutes=resolution_min) * timedelta(
        minutes=resolution_min
    )


def _as_json(record: Interaction) -> str:
    try:
        return json.dumps(record.payload, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise DataError(
            "The payload of an interaction is not valid JSON", received=f"{record.key}: {error}"
        ) from error
