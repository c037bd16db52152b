"""Rows on their way into a table: conformed to its schema, each key once."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as pads

from chronotope.contracts.errors import SchemaError
from chronotope.contracts.ids import event_ids

DIGEST_CHARS: Final = 32
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)


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


def conform_rows(table: pa.Table, schema: pa.Schema) -> pa.Table:
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


def first_occurrence_mask(keys: pa.ChunkedArray) -> npt.NDArray[np.bool_] | None:
    """Mask of the first row of each key; None when every key occurs once."""
    suspects = repeated_positions(key_hashes(keys))
    if not len(suspects):
        return None
    rows = pa.array(np.arange(len(suspects)))
    among = pa.table({"key": keys.take(pa.array(suspects)), "row": rows})
    first = among.group_by("key").aggregate([("row", "min")]).column("row_min").to_numpy()
    mask = np.ones(len(keys), dtype=np.bool_)
    mask[suspects] = False
    mask[suspects[first]] = True
    return None if mask.all() else mask


def key_hashes(keys: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """A 64-bit number a key, equal for equal keys; the rare clash is for the caller."""
    found = [_hashes(chunk) for chunk in keys.chunks]
    return np.concatenate([np.empty(0, np.uint64), *found])


def _hashes(keys: pa.Array) -> npt.NDArray[np.uint64]:
    digests = keys if _all_digests(keys) else event_ids([keys])
    start = digests.offset * DIGEST_CHARS
    text = np.frombuffer(digests.buffers()[2] or b"", dtype=np.uint8)
    words = text[start : start + len(digests) * DIGEST_CHARS].view(np.uint64).reshape(-1, 4)
    mixed = words[:, 0].copy()
    for lane in (1, 2, 3):
        mixed *= _ODD
        mixed ^= words[:, lane]
    mixed *= _ODD
    return np.asarray(mixed ^ (mixed >> np.uint64(32)))


def repeated_positions(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Positions, in order, of the numbers that occur more than once."""
    ordered = np.sort(numbers)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.flatnonzero(np.isin(numbers, twice)) if len(twice) else np.empty(0, np.int64)


def _all_digests(keys: pa.Array) -> bool:
    """Whether the keys lie in memory as ``event_ids`` makes them, 32 bytes each."""
    if not pa.types.is_string(keys.type) or keys.null_count:
        return False
    offsets = np.frombuffer(keys.buffers()[1] or b"", dtype=np.int32)
    own = offsets[keys.offset : keys.offset + len(keys) + 1]
    return bool((np.diff(own) == DIGEST_CHARS).all()) and own[:1].tolist() == [
        keys.offset * DIGEST_CHARS
    ]


def stream_rows(
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
            yield from conform_rows(table, schema).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())
