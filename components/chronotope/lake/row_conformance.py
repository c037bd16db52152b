"""Preparation of rows for a table: cast to its schema, duplicate keys removed."""

from collections.abc import Iterable, Iterator, Sequence

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from chronotope.contracts.errors import SchemaError
from chronotope.contracts.ids import DIGEST_CHARS, digest_numbers, event_ids


def conformed_schema(row_schema: pa.Schema, table_schema: pa.Schema) -> pa.Schema:
    """Schema of rows to write: the table's columns first, then further columns of the rows.

    Further columns of type null are left out.

    Raises:
        SchemaError: A required column is missing.
    """
    missing_columns = [
        arrow_field.name
        for arrow_field in table_schema
        if not arrow_field.nullable and arrow_field.name not in row_schema.names
    ]
    if missing_columns:
        raise SchemaError(
            f"Rows lack the required columns {missing_columns}",
            received=row_schema.names,
            way_out="Map these columns in the dataset's YAML",
        )
    extra_fields = [
        field.with_nullable(True) for field in row_schema if field.name not in table_schema.names
    ]
    return pa.schema(
        [
            *table_schema,
            *(
                arrow_field
                for arrow_field in extra_fields
                if not pa.types.is_null(arrow_field.type)
            ),
        ]
    )


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Schema with views of texts as texts.

    Args:
        schema: Schema of a table that a MERGE has written.
    """
    return pa.schema(
        [
            field.with_type(pa.string()) if pa.types.is_string_view(field.type) else field
            for field in schema
        ]
    )


def conform_rows(table_rows: pa.Table, table_schema: pa.Schema) -> pa.Table:
    """Rows with columns ordered and cast as in a schema; absent optional columns are null.

    Raises:
        SchemaError: A value cannot be cast, or a required value is null.
    """
    cast_columns = []
    for arrow_field in table_schema:
        if arrow_field.name not in table_rows.column_names:
            cast_columns.append(pa.chunked_array([pa.nulls(len(table_rows), arrow_field.type)]))
            continue
        column = table_rows.column(arrow_field.name)
        if not arrow_field.nullable and column.null_count:
            raise SchemaError(
                f"Required column {arrow_field.name!r} has nulls",
                received=f"{column.null_count} rows",
            )
        try:
            cast_columns.append(column.cast(arrow_field.type))
        except pa.ArrowInvalid as error:
            raise SchemaError(
                f"Column {arrow_field.name!r} is not {arrow_field.type}", received=column.type
            ) from error
    return pa.Table.from_arrays(cast_columns, schema=table_schema)


def conformed_reader(tables: Iterable[pa.Table], table_schema: pa.Schema) -> pa.RecordBatchReader:
    """Stream of the rows of tables, each conformed to a schema when it is read."""
    batches = (batch for rows in tables for batch in conform_rows(rows, table_schema).to_batches())
    return pa.RecordBatchReader.from_batches(table_schema, batches)


def unique_by_key(table_rows: pa.Table, key_columns: Sequence[str]) -> pa.Table:
    """The first row of each key."""
    keys = table_rows.column(key_columns[0])
    if len(key_columns) > 1:
        key_parts = [table_rows.column(name) for name in key_columns]
        keys = pa.chunked_array([event_ids([part.combine_chunks() for part in key_parts])])
    is_first = first_occurrence_mask(keys)
    return table_rows if is_first is None else table_rows.filter(pa.array(is_first))


def first_occurrence_mask(keys: pa.ChunkedArray) -> npt.NDArray[np.bool_] | None:
    """Mask of the first row of each key, shape (n_rows,); None if every key is unique."""
    repeated_rows = repeated_positions(key_hashes(keys))
    if not len(repeated_rows):
        return None
    row_numbers = pa.array(np.arange(len(repeated_rows)))
    repeated_keys = pa.table({"key": keys.take(pa.array(repeated_rows)), "row": row_numbers})
    first_rows = (
        repeated_keys.group_by("key").aggregate([("row", "min")]).column("row_min").to_numpy()
    )
    is_first = np.ones(len(keys), dtype=np.bool_)
    is_first[repeated_rows] = False
    is_first[repeated_rows[first_rows]] = True
    return None if is_first.all() else is_first


def row_hashes(table_rows: pa.Table) -> npt.NDArray[np.uint64]:
    """64-bit hash of the values of each row, shape (n_rows,), of this version of DuckDB."""
    with duckdb.connect() as database_connection:
        database_connection.execute("SET enable_progress_bar = false")  # it goes to stdout
        database_connection.register("hashed_rows", table_rows)
        columns = [duckdb.ColumnExpression(name) for name in table_rows.column_names]
        hashes = database_connection.table("hashed_rows").select(
            duckdb.FunctionExpression("hash", *columns).alias("row_hash")
        )
        return np.asarray(hashes.fetchnumpy()["row_hash"], np.uint64)


def key_hashes(keys: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """64-bit hash of each key, shape (n_keys,); the caller has to resolve rare collisions."""
    chunk_hashes = [_hashes(key_chunk) for key_chunk in keys.chunks]
    return np.concatenate([np.empty(0, np.uint64), *chunk_hashes])


def _hashes(keys: pa.Array) -> npt.NDArray[np.uint64]:
    if _all_digests(keys):
        return digest_numbers(keys)
    # By key, not by chunk: a key has one hash, whatever the other keys of its chunk are.
    numbers = digest_numbers(event_ids([keys]))
    has_digest_length = pc.equal(pc.binary_length(keys), DIGEST_CHARS)
    is_digest = pc.fill_null(has_digest_length, False).to_numpy(zero_copy_only=False)
    digests = keys.filter(pa.array(is_digest, pa.bool_()))
    if len(digests) and pa.types.is_string(keys.type):
        numbers[is_digest] = digest_numbers(digests)
    return numbers


def is_in_sorted(
    numbers: npt.NDArray[np.uint64], sorted_numbers: npt.NDArray[np.uint64]
) -> npt.NDArray[np.bool_]:
    """Whether each number is among others that are sorted already, shape (n,).

    A batch costs what it is long, times the logarithm of the others; ``numpy.isin`` would sort the
    others again for each batch.

    Args:
        numbers: Numbers of a batch, shape (n,), in any order.
        sorted_numbers: Numbers that are looked up, shape (m,), increasing.
    """
    if not len(sorted_numbers):
        return np.zeros(len(numbers), np.bool_)
    order = np.argsort(numbers)  # increasing numbers are looked up near each other in memory
    positions = np.searchsorted(sorted_numbers, numbers[order])
    is_in = np.empty(len(numbers), np.bool_)
    is_in[order] = sorted_numbers[positions.clip(max=len(sorted_numbers) - 1)] == numbers[order]
    return is_in


def repeated_positions(key_numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Positions of the numbers that occur more than once, increasing."""
    sorted_numbers = np.sort(key_numbers)
    repeated_numbers = sorted_numbers[1:][sorted_numbers[1:] == sorted_numbers[:-1]]
    return (
        np.flatnonzero(np.isin(key_numbers, repeated_numbers))
        if len(repeated_numbers)
        else np.empty(0, np.int64)
    )


def _all_digests(keys: pa.Array) -> bool:
    """Whether all keys have the memory layout of ``event_ids``: 32 bytes each, no gaps."""
    if not pa.types.is_string(keys.type) or keys.null_count:
        return False
    text_offsets = np.frombuffer(keys.buffers()[1] or b"", dtype=np.int32)
    key_offsets = text_offsets[keys.offset : keys.offset + len(keys) + 1]
    return bool((np.diff(key_offsets) == DIGEST_CHARS).all()) and key_offsets[:1].tolist() == [
        keys.offset * DIGEST_CHARS
    ]


def stream_rows(
    source_rows: pads.Dataset, table_schema: pa.Schema, keep_mask: npt.NDArray[np.bool_] | None
) -> pa.RecordBatchReader:
    """Reader of the rows that a mask keeps, cast to a schema, one record batch at a time.

    Args:
        source_rows: Rows to read.
        table_schema: Schema of the result.
        keep_mask: Rows to keep, shape (n_rows,); None keeps all.
    """

    def batches() -> Iterator[pa.RecordBatch]:
        start_row = 0
        for record_batch in source_rows.to_batches():
            batch_table = pa.Table.from_batches([record_batch])
            if keep_mask is not None:
                batch_table = batch_table.filter(
                    pa.array(keep_mask[start_row : start_row + len(record_batch)])
                )
            start_row += len(record_batch)
            yield from conform_rows(batch_table, table_schema).to_batches()

    return pa.RecordBatchReader.from_batches(table_schema, batches())
