"""Rows on their way into a table: conformed to its schema, each key once."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from chronotope.contracts.errors import SchemaError


def conformed_schema(found: pa.Schema, wanted: pa.Schema) -> pa.Schema:
    """The table's own columns first, then whatever else the rows carry.

    Raises:
        SchemaError: A required column is missing, or one has no type.
    """
    missing = [f.name for f in wanted if not f.nullable and f.name not in found.names]
    if missing:
        raise SchemaError(
            f"Rows lack the required columns {missing}",
            received=found.names,
            way_out="Map them in the dataset's YAML",
        )
    extra = [field.with_nullable(True) for field in found if field.name not in wanted.names]
    return pa.schema([*wanted, *(f for f in extra if not pa.types.is_null(f.type))])


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Order and cast columns to a schema; absent optional ones become null.

    Raises:
        SchemaError: A value cannot be cast, or a required one is null.
    """
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.chunked_array([pa.nulls(len(table), field.type)]))
            continue
        column = table.column(field.name)
        if not field.nullable and column.null_count:
            raise SchemaError(
                f"Required column {field.name!r} has nulls", received=f"{column.null_count} rows"
            )
        try:
            columns.append(column.cast(field.type))
        except pa.ArrowInvalid as error:
            raise SchemaError(
                f"Column {field.name!r} is not {field.type}", received=column.type
            ) from error
    return pa.Table.from_arrays(columns, schema=schema)


def first_of_each(keys: pa.ChunkedArray) -> npt.NDArray[np.bool_] | None:
    """Mask of the first row of each key; None when every key occurs once."""
    if pc.count_distinct(keys, mode="all").as_py() == len(keys):
        return None
    rows = pa.array(np.arange(len(keys)))
    first = pa.table({"key": keys, "row": rows}).group_by("key").aggregate([("row", "min")])
    mask = np.zeros(len(keys), dtype=np.bool_)
    mask[first.column("row_min").to_numpy()] = True
    return mask


def stream(
    rows: pads.Dataset, schema: pa.Schema, keep: npt.NDArray[np.bool_] | None
) -> pa.RecordBatchReader:
    """Read rows one record batch at a time, conformed, only those to keep."""

    def batches() -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in rows.to_batches():
            table = pa.Table.from_batches([batch])
            if keep is not None:
                table = table.filter(pa.array(keep[start : start + len(batch)]))
            start += len(batch)
            yield from conform(table, schema).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())
