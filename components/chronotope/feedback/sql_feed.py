"""SQL feed of interactions, read incrementally from a table.

The largest cursor value is not a safe position: rows may share it, and a transaction with a
smaller value may commit later. So the newest rows are read again each time, and those that were
stored before are recognised by their digests.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chronotope.contracts.errors import StoreError
from chronotope.contracts.text_arrays import shown_bytes
from chronotope.datasets.readers import read_feed
from chronotope.datasets.table_spec import FeedSpec
from chronotope.datasets.values.private_rows import PrivateRows
from chronotope.feedback.watermark import TablePosition, Watermark, document_digest, read_watermark
from chronotope.privacy import PrivacySettings
from chronotope.runtime.state import (
    delete_document,
    document_exists,
    read_checked_document,
    write_checked_document,
)

_LOG = logging.getLogger(__name__)

_AS_READ: Final = PrivateRows(PrivacySettings(), None)

TABLE_SOURCE: Final = "table"
"""Source name, in the quarantine, of rows from the SQL feed."""


class PendingDelivery(BaseModel):
    """Delivery that was read from a table and may not be in the lake yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    before: TablePosition = Field(description="Position in the table before the delivery")
    after: TablePosition = Field(description="Position in the table after the delivery")
    rows: list[dict[str, Any]] = Field(description="Payloads of the delivery")


def read_sql_feed(
    feed_spec: FeedSpec,
    database_url: str,
    mark_path: Path,
    max_rows: int,
    private_rows: PrivateRows = _AS_READ,
) -> Iterator[tuple[str, Sequence[object], Watermark]]:
    """Read the new rows of a feed in deliveries.

    A delivery is stored beside the watermark until that is written: after an interruption it
    must be the same, and the table may have changed by then.

    Args:
        feed_spec: Query and cursor column of the feed.
        database_url: URL of the database.
        mark_path: File of the watermark; pending deliveries are stored next to it.
        max_rows: Maximum number of rows of a delivery.
        private_rows: Form in which rows may be stored; also a pending delivery is stored.

    Yields:
        Digest and payloads of a delivery, and the watermark to write once they are stored.

    Raises:
        SourceError: The database cannot be reached, refuses the query or has no such column.
    """
    pending_path = mark_path.with_name("table.json")
    while True:
        watermark = read_watermark(mark_path)
        if not _is_pending(pending_path, watermark.table):
            new_payloads, after = _next_rows(
                feed_spec, database_url, watermark.table, max_rows, private_rows
            )
            if not new_payloads:
                return
            delivery = PendingDelivery(before=watermark.table, after=after, rows=new_payloads)
            write_checked_document(pending_path, delivery.model_dump())
        delivery = _read_pending(pending_path)
        next_watermark = watermark.model_copy(update={"table": delivery.after})
        yield document_digest(pending_path), delivery.rows, next_watermark
        delete_document(pending_path)


def _is_pending(pending_path: Path, table_position: TablePosition) -> bool:
    """Whether a pending delivery starts at the position of the watermark.

    One that starts elsewhere or is damaged is deleted; its rows are read from the table again.
    """
    if not document_exists(pending_path):
        return False
    try:
        if _read_pending(pending_path).before == table_position:
            return True
    except StoreError as error:
        _LOG.warning("The rows are read from the table again: %s", error)
    delete_document(pending_path)
    return False


def _read_pending(pending_path: Path) -> PendingDelivery:
    subject, way_out = "The pending delivery of the SQL feed", "Delete it: its rows are read again"
    stored_content = read_checked_document(pending_path, subject=subject, way_out=way_out)
    try:
        return PendingDelivery.model_validate(stored_content)
    except ValidationError as error:
        raise StoreError(
            f"{subject} cannot be read", received=f"{pending_path}: {error}", way_out=way_out
        ) from error


def _next_rows(
    feed_spec: FeedSpec,
    database_url: str,
    table_position: TablePosition,
    max_rows: int,
    private_rows: PrivateRows,
) -> tuple[list[dict[str, Any]], TablePosition]:
    """Payloads of the rows that were not stored yet, and the position after them."""
    row_limit = max_rows + len(table_position.seen)  # leaves room for new rows after known ones
    cursor_values, rows = read_feed(
        feed_spec, database_url, since_value=table_position.since, max_rows=row_limit
    )
    rows = private_rows.stored_raw(rows, feed_spec, feed_spec.time)
    known_digests, row_digests, new_payloads = Counter(table_position.seen), [], []
    for cursor_value, source_row in zip(cursor_values, rows.to_pylist(), strict=True):
        row_payload = {
            column_name: _plain(cell_value) for column_name, cell_value in source_row.items()
        }
        row_digest = _digest(cursor_value, row_payload)
        row_digests.append(row_digest)
        if known_digests[row_digest]:
            known_digests[row_digest] -= 1
        else:
            new_payloads.append(row_payload)
    if not new_payloads:
        return [], table_position
    reread_start = max(0, len(cursor_values) - feed_spec.reread_rows)
    while reread_start and cursor_values[reread_start - 1] == cursor_values[reread_start]:
        reread_start -= 1
    # At the limit, the query may have omitted known rows with the same cursor value.
    remaining_digests = known_digests.elements() if len(cursor_values) == row_limit else ()
    return new_payloads, TablePosition(
        since=_plain(cursor_values[reread_start]),
        seen=(*row_digests[reread_start:], *remaining_digests),
    )


def _plain(cell_value: object) -> int | float | str | None:
    """A value in a form that JSON stores and the database can compare."""
    if cell_value is None or isinstance(cell_value, int | float | str):
        return cell_value
    if isinstance(cell_value, bytes | memoryview):
        return shown_bytes(bytes(cell_value))
    if isinstance(cell_value, datetime):
        utc_time = cell_value if cell_value.tzinfo is None else cell_value.astimezone(UTC)
        return utc_time.isoformat(" ")
    return cell_value.isoformat() if isinstance(cell_value, date) else str(cell_value)


def _digest(cursor_value: object, row_payload: dict[str, Any]) -> str:
    digest_text = f"{_plain(cursor_value)}\n{json.dumps(row_payload, sort_keys=True)}"
    return hashlib.sha256(digest_text.encode()).hexdigest()[:16]
