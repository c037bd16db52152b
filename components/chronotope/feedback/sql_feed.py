"""Interactions that somebody appends to a SQL table, read on from where the last run stopped.

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
    feed: FeedSpec, url: str, mark_path: Path, most: int
) -> Iterator[tuple[str, Sequence[object], Watermark]]:
    """Digest and payloads of each delivery, and the watermark once they are safe.

    A delivery is kept in a file until then: the table may have changed when a run that was
    killed is taken up again, and the delivery must be the same.

    Args:
        feed: The table.
        url: Address of its database.
        mark_path: File of the watermark; the delivery lies beside it.
        most: Rows of a delivery.

    Raises:
        SourceError: The database cannot be reached, refuses the query or finds no such column.
    """
    kept = mark_path.with_name("table.json")
    while True:
        mark = read_watermark(mark_path)
        if not _belongs(kept, mark.table):
            fresh, after = _next(feed, url, mark.table, most)
            if not fresh:
                return
            write_json(kept, KeptDelivery(before=mark.table, after=after, rows=fresh).model_dump())
        delivery = _kept(kept)
        yield file_digest(kept), delivery.rows, mark.model_copy(update={"table": delivery.after})
        kept.unlink()


def _belongs(kept: Path, mark: TablePosition) -> bool:
    """Whether a delivery was kept and not taken in; another watermark's is dropped.

    So is a damaged one: its rows are still in the table, behind the watermark.
    """
    if not kept.exists():
        return False
    try:
        if _kept(kept).before == mark:
            return True
    except StoreError as error:
        _LOG.warning("The rows are read from the table again: %s", error)
    kept.unlink()
    return False


def _kept(path: Path) -> KeptDelivery:
    what, way_out = "A kept delivery of a table", "Delete it: its rows are read again"
    content = read_json(path, subject=what, way_out=way_out)
    try:
        return KeptDelivery.model_validate(content)
    except ValidationError as error:
        raise StoreError(
            f"{what} cannot be read", received=f"{path}: {error}", way_out=way_out
        ) from error


def _next(
    feed: FeedSpec, url: str, mark: TablePosition, most: int
) -> tuple[list[dict[str, Any]], TablePosition]:
    """Payloads that were not taken in, and how far the table has been read with them."""
    limit = most + len(mark.seen)  # so that known rows never fill it
    values, rows = read_feed(feed, url, since_value=mark.since, max_rows=limit)
    known, digests, fresh = Counter(mark.seen), [], []
    for value, row in zip(values, rows.to_pylist(), strict=True):
        payload = {name: _plain(given) for name, given in row.items()}
        digest = _digest(value, payload)
        digests.append(digest)
        if known[digest]:
            known[digest] -= 1
        else:
            fresh.append(payload)
    if not fresh:
        return [], mark
    at = max(0, len(values) - feed.reread_rows)
    while at and values[at - 1] == values[at]:
        at -= 1
    left = known.elements() if len(values) == limit else ()  # not returned: ties beyond the limit
    return fresh, TablePosition(since=_plain(values[at]), seen=(*digests[at:], *left))


def _plain(value: object) -> int | float | str | None:
    """A value as JSON keeps it and the database compares it."""
    if value is None or isinstance(value, int | float | str):
        return value
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat(" ")
    return value.isoformat() if isinstance(value, date) else str(value)


def _line(payload: dict[str, Any]) -> str:
    return json.dumps(payload, sort_keys=True)


def _digest(value: object, payload: dict[str, Any]) -> str:
    told = f"{_plain(value)}\n{_line(payload)}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]
