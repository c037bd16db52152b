"""Item context that was posted to a service: durable, append-only, shared by its workers.

A SQLite file beside the interaction log, as of posted items. A row replaces earlier rows of the
same item, place and start. An ingestion merges the rows into the table ``item_context``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Final

import pyarrow as pa

from chronotope.contracts.schemas import ITEM_CONTEXT
from chronotope.runtime.private_files import store_errors
from chronotope.runtime.state import open_state, write_transaction

_SUBJECT: Final = "The log of posted item context"
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS posted_item_context (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    item_id TEXT NOT NULL,
    place_id TEXT NOT NULL,
    valid_from_us INTEGER NOT NULL,
    valid_until_us INTEGER,
    fields TEXT NOT NULL,
    received_at TEXT NOT NULL
)
"""
_INSERT: Final = (
    "INSERT INTO posted_item_context (item_id, place_id, valid_from_us, valid_until_us, fields, "
    "received_at) VALUES (?, ?, ?, ?, ?, ?)"
)
_LATEST: Final = """
SELECT item_id, place_id, valid_from_us, valid_until_us, fields FROM posted_item_context
WHERE seq IN (SELECT max(seq) FROM posted_item_context GROUP BY item_id, place_id, valid_from_us)
ORDER BY seq
"""


@dataclass(frozen=True, slots=True)
class PostedContextRow:
    """One row of the item context.

    Attributes:
        item_id: The item.
        place_id: The place; empty for everywhere.
        valid_from: Start, with a time zone.
        valid_until: End, exclusive; None without one.
        fields: Values by column; a column that is left out has its default.
    """

    item_id: str
    place_id: str
    valid_from: datetime
    valid_until: datetime | None
    fields: Mapping[str, str | float]


class PostedItemContext:
    """Log of posted rows of one dataset; threads and processes may share the file."""

    def __init__(self, database_path: Path) -> None:
        """Open the log; the file is created if it is missing.

        Args:
            database_path: The SQLite file.

        Raises:
            StoreError: The file cannot be opened, or is no such log.
        """
        self.path, self._lock = database_path, Lock()
        with store_errors(_SUBJECT, self.path):
            self._connection = open_state(database_path, (_TABLE,))

    def append(self, rows: Sequence[PostedContextRow]) -> int:
        """Append rows in one transaction, on the disk when this returns; returns the position.

        Args:
            rows: The rows.

        Raises:
            StoreError: The log could not be written.
        """
        received_at = datetime.now(UTC).isoformat()
        row_values = [
            (
                row.item_id,
                row.place_id,
                _micros(row.valid_from),
                None if row.valid_until is None else _micros(row.valid_until),
                json.dumps(dict(row.fields), allow_nan=False, sort_keys=True),
                received_at,
            )
            for row in rows
        ]
        with (
            self._lock,
            store_errors(_SUBJECT, self.path),
            write_transaction(self._connection),
        ):
            self._connection.executemany(_INSERT, row_values)
        return self.position()

    def position(self) -> int:
        """Position of the latest row; 0 if there is none."""
        with self._lock, store_errors(_SUBJECT, self.path):
            position_query = "SELECT coalesce(max(seq), 0) FROM posted_item_context"
            return int(self._connection.execute(position_query).fetchone()[0])

    def table(self, schema: pa.Schema) -> pa.Table:
        """The latest row of each item, place and start.

        Args:
            schema: Columns of ``ITEM_CONTEXT``, then those of the values.
        """
        with self._lock, store_errors(_SUBJECT, self.path):
            stored_rows = self._connection.execute(_LATEST).fetchall()
        fields = [json.loads(row[4]) for row in stored_rows]
        keys = {
            name: [row[column_idx] for row in stored_rows]
            for column_idx, name in enumerate(ITEM_CONTEXT.names)
        }
        arrow_columns = [
            pa.array(keys[field.name], pa.int64() if column_idx > 1 else pa.string()).cast(
                field.type
            )
            if field.name in keys
            else pa.array([row_values.get(field.name) for row_values in fields], field.type)
            for column_idx, field in enumerate(schema)
        ]
        return pa.table(arrow_columns, schema=schema)

    def close(self) -> None:
        """Close the file; acknowledged rows are durable."""
        with self._lock:
            self._connection.close()


def _micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
