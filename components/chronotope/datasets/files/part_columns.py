"""Columns of the files of a source: those that a file lacks are added to its batches."""

from collections.abc import Collection

import pyarrow as pa
from pydantic import Field

from chronotope.contracts import columns as c
from chronotope.datasets.files.part_files import PartFile
from chronotope.datasets.table_spec import TableSpec

_REQUIRED = (c.USER_ID, c.ITEM_ID, c.OCCURRED_AT)


class PartialTableSpec(TableSpec):
    """A table's source without columns that one of its files lacks."""

    absent: frozenset[str] = Field(description="Source columns that are not read")

    @property
    def needed(self) -> tuple[str, ...]:
        """Source columns to read, without duplicates."""
        return tuple(name for name in super().needed if name not in self.absent)


def without_columns(table_spec: TableSpec, absent: Collection[str]) -> TableSpec:
    """The source without some of its columns."""
    return PartialTableSpec.model_construct(**dict(table_spec), absent=frozenset(absent))


def required_columns(table_spec: TableSpec, absent: Collection[str]) -> list[str]:
    """Those of the absent source columns without which no row has a user, an item or a time.

    Of columns that are combined by ``coalesce`` one suffices.
    """
    sources = [
        *((name, [source]) for name, source in table_spec.columns.items()),
        *((name, [source]) for name, joined in table_spec.join.items() for source in joined),
        *((name, list(coalesced)) for name, coalesced in table_spec.coalesce.items()),
    ]
    return [
        source
        for name, alternatives in sources
        if name in _REQUIRED and set(alternatives) <= set(absent)
        for source in alternatives
    ]


def complete_batch(
    table_spec: TableSpec, part_file: PartFile, batch: pa.RecordBatch
) -> pa.RecordBatch:
    """All needed columns: those of the file, its partition values, and nulls for the others."""
    columns = [
        batch.column(name)
        if name in batch.schema.names
        else pa.repeat(pa.scalar(part_file.partition_values.get(name), pa.string()), len(batch))
        for name in table_spec.needed
    ]
    return pa.RecordBatch.from_arrays(columns, names=list(table_spec.needed))
