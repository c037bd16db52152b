"""SQL feed of interactions, read incrementally.

A table has no end that can be trusted: rows may tie in the column that grows, and a
transaction may commit after a later one was read. So the newest rows are looked at again
each time, and those that were taken in are known by their digests.
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
from chronotope.datasets.readers import read_feed
from chronotope.datasets.spec import FeedSpec
from chronotope.feedback.watermark import TablePosition, Watermark, file_digest, read_watermark
from chronotope.runtime.durable_files import read_json, write_json

_LOG = logging.getLogger(__name__)

TABLE: Final = "table"
"""Source of what comes from the table, as the quarantine names it."""


class KeptDelivery(BaseModel):
    """A delivery that was read from a table and may not be in the lake yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    before: TablePosition = Field(description="How far the table was read before it")
    after: TablePosition = Field(description="And with it")
    rows: list[dict[str, Any]] = Field(description="Payloads")


def read_sql_feed(
    feed_spec: FeedSpec, database_url: str, mark_path: Path, max_rows: int
) -> Iterator[tuple[str, Sequence[object], Watermark]]:
    """Digest and payloads of each delivery, and the watermark once they are safe.

    A delivery is kept in a file until then: the table may have changed when a run that was
    killed is taken up again, and the delivery must be the same.

    Args:
        feed_spec: The table.
        database_url: Address of its database.
        mark_path: File of the watermark; the delivery lies beside it.
        max_rows: Rows of a delivery.

    Raises:
        SourceError: The database cannot be reached, refuses the query or finds no such column.
    """
    stored_path = mark_path.with_name("table.json")
    while True:
        table_position = read_watermark(mark_path)
        if not _belongs(stored_path, table_position.table):
            new_payloads, after = _next(feed_spec, database_url, table_position.table, max_rows)
            if not new_payloads:
                return
            write_json(
                stored_path,
                KeptDelivery(
                    before=table_position.table, after=after, rows=new_payloads
                ).model_dump(),
            )
        stored_batch = _kept(stored_path)
        yield (
            file_digest(stored_path),
            stored_batch.rows,
            table_position.model_copy(update={"table": stored_batch.after}),
        )
        stored_path.unlink()


def _belongs(stored_path: Path, table_position: TablePosition) -> bool:
    """Whether a delivery was kept and not taken in; another watermark's is dropped.

    So is a damaged one: its rows are still in the table, behind the watermark.
    """
    if not stored_path.exists():
        return False
    try:
        if _kept(stored_path).before == table_position:
            return True
    except StoreError as error:
        _LOG.warning("The rows are read from the table again: %s", error)
    stored_path.unlink()
    return False


def _kept(batch_path: Path) -> KeptDelivery:
    subject, way_out = "A kept delivery of a table", "Delete it: its rows are read again"
    stored_content = read_json(batch_path, subject=subject, way_out=way_out)
    try:
        return KeptDelivery.model_validate(stored_content)
    except ValidationError as error:
        raise StoreError(
            f"{subject} cannot be read", received=f"{batch_path}: {error}", way_out=way_out
        ) from error


def _next(
    feed_spec: FeedSpec, database_url: str, table_position: TablePosition, max_rows: int
) -> tuple[list[dict[str, Any]], TablePosition]:
    """Payloads that were not taken in, and how far the table has been read with them."""
    row_limit = max_rows + len(table_position.seen)  # so that known rows never fill it
    growing_values, rows = read_feed(
        feed_spec, database_url, since_value=table_position.since, max_rows=row_limit
    )
    known_digests, row_digests, new_payloads = Counter(table_position.seen), [], []
    for growing_value, source_row in zip(growing_values, rows.to_pylist(), strict=True):
        row_payload = {
            column_name: _plain(cell_value) for column_name, cell_value in source_row.items()
        }
        row_digest = _digest(growing_value, row_payload)
        row_digests.append(row_digest)
        if known_digests[row_digest]:
            known_digests[row_digest] -= 1
        else:
            new_payloads.append(row_payload)
    if not new_payloads:
        return [], table_position
    reread_start = max(0, len(growing_values) - feed_spec.reread_rows)
    while reread_start and growing_values[reread_start - 1] == growing_values[reread_start]:
        reread_start -= 1
    remaining_digests = (
        known_digests.elements() if len(growing_values) == row_limit else ()
    )  # not returned: ties beyond the limit
    return new_payloads, TablePosition(
        since=_plain(growing_values[reread_start]),
        seen=(*row_digests[reread_start:], *remaining_digests),
    )


def _plain(growing_value: object) -> int | float | str | None:
    """A value as JSON keeps it and the database compares it."""
    if growing_value is None or isinstance(growing_value, int | float | str):
        return growing_value
    if isinstance(growing_value, datetime):
        return (
            growing_value if growing_value.tzinfo is None else growing_value.astimezone(UTC)
        ).isoformat(" ")
    return growing_value.isoformat() if isinstance(growing_value, date) else str(growing_value)


def _line(row_payload: dict[str, Any]) -> str:
    return json.dumps(row_payload, sort_keys=True)


def _digest(growing_value: object, row_payload: dict[str, Any]) -> str:
    digest_text = f"{_plain(growing_value)}\n{_line(row_payload)}"
    return hashlib.sha256(digest_text.encode()).hexdigest()[:16]
