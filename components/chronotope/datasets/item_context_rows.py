"""Rows of the item context of a dataset, in batches."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.schemas import INSTANT, ITEM_CONTEXT
from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.datasets.parsing import as_instants, as_numbers
from chronotope.datasets.readers import mapped_batches, typed_table
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.table_spec import ItemContextSpec
from chronotope.spacetime.time_zones import zone

MAX_WEEKS: Final = 10_000
"""Weeks after the first one at most; a row of a later one has no time."""

_KEYS: Final = pa.schema([(c.ITEM_ID, pa.string()), (c.PLACE_ID, pa.string())])


class ItemContextBatch(NamedTuple):
    """Rows of one batch.

    Attributes:
        raw: Rows as read.
        rows: Columns of ``ITEM_CONTEXT``, then those of the values; what cannot be read is null.
    """

    raw: pa.Table
    rows: pa.Table


def item_context_schema(table_spec: ItemContextSpec) -> pa.Schema:
    """Columns of ``ITEM_CONTEXT``, numbers, then texts."""
    return pa.schema(
        [
            *ITEM_CONTEXT,
            *(pa.field(name, pa.float64()) for name in table_spec.context),
            *(pa.field(name, pa.string()) for name in table_spec.attributes),
        ]
    )


def read_item_context(
    dataset_spec: DatasetSpec, batch_rows: int, source_report: SourceReport | None = None
) -> Iterator[ItemContextBatch]:
    """Read the item context; nothing if the dataset has none.

    Args:
        dataset_spec: The dataset.
        batch_rows: Rows of a batch.
        source_report: As in ``read_events``.

    Raises:
        SourceError: The source is missing or unreadable.
        SchemaError: Mapped columns are missing.
    """
    table_spec = dataset_spec.item_context
    if table_spec is None:
        return
    for raw_rows in mapped_batches(table_spec, dataset_spec, batch_rows, source_report):
        keys = typed_table(table_spec, raw_rows, _KEYS)
        start, end = _validity(table_spec, dataset_spec, raw_rows)
        places = pc.fill_null(keys[c.PLACE_ID], "")
        values = [keys[name] for name in (*table_spec.context, *table_spec.attributes)]
        columns = [keys[c.ITEM_ID], places, start, end, *values]
        fields = [field.with_nullable(True) for field in item_context_schema(table_spec)]
        yield ItemContextBatch(raw_rows, pa.table(columns, schema=pa.schema(fields)))


def _validity(
    table_spec: ItemContextSpec, dataset_spec: DatasetSpec, raw_rows: pa.Table
) -> tuple[pa.Array, pa.Array]:
    """Start and end of each row; null where it cannot be read, or there is no end."""
    time_spec = table_spec.time or dataset_spec.time
    if table_spec.first_week is not None:
        return _weeks(table_spec, dataset_spec.local_zone or time_spec.timezone, raw_rows)
    start, _ = as_instants(raw_rows[c.VALID_FROM].combine_chunks(), time_spec)
    if c.VALID_UNTIL not in raw_rows.column_names:
        return start, pa.nulls(len(raw_rows), INSTANT)
    raw_end = raw_rows[c.VALID_UNTIL].combine_chunks()
    end, _ = as_instants(raw_end, time_spec)
    # an end that cannot be read must not mean that there is none: the row is refused
    is_unread = pc.and_(end.is_null(), pc.is_valid(raw_end))
    return pc.if_else(is_unread, pa.scalar(None, INSTANT), start), end


def _weeks(
    table_spec: ItemContextSpec, zone_name: str, raw_rows: pa.Table
) -> tuple[pa.Array, pa.Array]:
    """Midnights on the local clock at which the weeks of rows start and end."""
    assert table_spec.first_week is not None  # noqa: S101 - for the type checker
    first = datetime.combine(table_spec.first_week, datetime.min.time(), zone(zone_name))
    column = raw_rows[c.WEEK].combine_chunks()
    numbers = as_numbers(column, table_spec.decimal, table_spec.thousands)
    weeks = np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64)
    is_week = np.isfinite(weeks) & (weeks == np.floor(weeks)) & (np.abs(weeks) <= MAX_WEEKS)
    distinct, row_week = np.unique(np.where(is_week, weeks, 1.0), return_inverse=True)
    starts = [
        [int((first + timedelta(weeks=float(week) - 1 + later)).timestamp()) for week in distinct]
        for later in (0, 1)
    ]
    start, end = (
        pa.array(1_000_000 * np.array(seconds, np.int64)[row_week], mask=~is_week).cast(INSTANT)
        for seconds in starts
    )
    return start, end
