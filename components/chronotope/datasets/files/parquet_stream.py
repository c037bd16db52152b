"""Streaming of Parquet files in bounded memory, with sizes checked before decoding."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pds

from chronotope.contracts.errors import SchemaError, SourceError
from chronotope.datasets.columns import check_columns
from chronotope.datasets.files.budget import MAX_BATCH_BYTES, MAX_COLUMNS, ByteBudget
from chronotope.datasets.files.file_signatures import HEAD_BYTES, describe_binary
from chronotope.datasets.table_spec import TableSpec
from chronotope.runtime.regular_files import open_regular, require_regular

MAX_FOOTER_BYTES: Final = 32 << 20
"""Maximum size of a footer, bytes; it takes a multiple of that in memory once parsed."""

_PROBE_TIMEOUT_S: Final = 120.0

_TEXT_KINDS: Final = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
)

_FILE_END: Final = struct.Struct("<I4s")
"""Last bytes of a file: length of the footer, and the magic bytes of the format."""


def check_parquet_files(file_paths: Sequence[Path], table_spec: TableSpec) -> ByteBudget:
    """Check the sizes in the files' metadata before Arrow allocates memory for them.

    Args:
        file_paths: The files of a source.
        table_spec: Columns and limits.

    Returns:
        Budget of the bytes that the files may expand to together.

    Raises:
        SourceError: A file is cut short, or expands beyond its limits.
        SchemaError: A file has more than ``MAX_COLUMNS``.
        OSError: A file cannot be read.
    """
    _require_valid_files(file_paths, table_spec)
    return ByteBudget(sum(map(require_regular, file_paths)), table_spec.limits.max_bytes)


def stream_parquet(
    table_spec: TableSpec,
    file_path: Path,
    byte_budget: ByteBudget,
    batch_rows: int,
    row_mask: npt.NDArray[np.bool_] | None = None,
    row_groups: range | None = None,
) -> Iterator[pa.RecordBatch]:
    """Read the needed columns of a Parquet file in batches, in the types of this file.

    Args:
        table_spec: Columns and limits.
        file_path: A file that ``check_parquet_files`` has checked.
        byte_budget: Budget of the source.
        batch_rows: Maximum number of rows of a batch; batches of long texts have fewer.
        row_mask: Mask of the rows to read, shape (n_rows,); None reads all rows.
        row_groups: Numbers of the row groups to read; None reads all.

    Raises:
        SourceError: The file expands beyond its limits.
        SchemaError: Columns are missing, or a needed column is nested.
        OSError, ValueError: The file cannot be read as Parquet.
    """
    arrow_schema = pds.dataset([str(file_path)], format="parquet").schema
    check_columns(table_spec, arrow_schema.names, file_path)
    text_columns = _text_columns(arrow_schema, table_spec.needed)
    # Dictionary-encoded: a text that many rows share is in memory once until it is decoded.
    parquet_format = pds.ParquetFileFormat(dictionary_columns=text_columns)
    (fragment,) = pds.dataset([str(file_path)], format=parquet_format).get_fragments()
    n_rows_before = 0
    # A scan of the whole file reads ahead without limit while batches are processed.
    for group_idx, row_group in enumerate(fragment.split_by_row_group()):
        if row_groups is not None and group_idx not in row_groups:
            n_rows_before += row_group.row_groups[0].num_rows
            continue
        for batch in row_group.to_batches(columns=list(table_spec.needed), batch_size=batch_rows):
            for decoded_batch in _decode_batch(batch, byte_budget):
                row_range = slice(n_rows_before, n_rows_before + decoded_batch.num_rows)
                n_rows_before = row_range.stop
                yield (
                    decoded_batch
                    if row_mask is None
                    else decoded_batch.filter(_padded_mask(row_mask[row_range], decoded_batch))
                )


def _padded_mask(row_mask: npt.NDArray[np.bool_], batch: pa.RecordBatch) -> pa.Array:
    """Mask of a batch; rows that a deletion vector is too short for are not deleted."""
    return pa.array(np.pad(row_mask, (0, batch.num_rows - len(row_mask)), constant_values=True))


def _require_valid_files(file_paths: Sequence[Path], table_spec: TableSpec) -> None:
    for file_path in file_paths:
        _require_footer(file_path)
    probe_task = {
        "files": [str(file_path.resolve()) for file_path in file_paths],
        "columns": table_spec.needed,
    }
    probe = subprocess.run(  # noqa: S603 - a script of our own
        [sys.executable, "-P", str(Path(__file__).with_name("parquet_probe.py"))],
        input=json.dumps(probe_task),
        capture_output=True,
        text=True,
        timeout=_PROBE_TIMEOUT_S,
        check=False,
    )
    probe_lines = probe.stdout.splitlines()
    for file_path, probe_line in zip(file_paths, probe_lines, strict=False):
        _require_sizes(file_path, json.loads(probe_line), table_spec)
    if len(probe_lines) < len(file_paths):
        failure_lines = probe.stderr.strip().splitlines() or [f"signal {-probe.returncode}"]
        raise _damaged_file(file_paths[len(probe_lines)], failure_lines[-1])


def _require_sizes(file_path: Path, file_sizes: dict[str, int], table_spec: TableSpec) -> None:
    if file_sizes["n_columns"] > MAX_COLUMNS:
        raise SchemaError(
            f"The file has more than {MAX_COLUMNS:,} columns",
            received=f"{file_path}: {file_sizes['n_columns']:,}",
            way_out="Store only the needed columns",
        )
    if file_sizes["smallest"] < 0 or file_sizes["n_rows"] != file_sizes["n_group_rows"]:
        raise _damaged_file(
            file_path,
            f"{file_sizes['n_rows']:,} rows, {file_sizes['n_group_rows']:,} in its row groups",
        )
    ByteBudget(require_regular(file_path), table_spec.limits.max_bytes).spend(
        file_sizes["largest_chunk"]
    )


def _require_footer(file_path: Path) -> None:
    with open_regular(file_path) as file:
        file_size = file.seek(0, os.SEEK_END)
        if file_size < _FILE_END.size + len(b"PAR1"):
            raise _damaged_file(file_path, f"{file_size} bytes")
        file.seek(-_FILE_END.size, os.SEEK_END)
        n_footer, magic_bytes = _FILE_END.unpack(file.read(_FILE_END.size))
        file.seek(0)
        head = file.read(HEAD_BYTES)
    if magic_bytes not in (b"PAR1", b"PARE"):
        is_cut = head.startswith(b"PAR1")
        other_format = None if is_cut else describe_binary(head)
        if other_format is not None:
            raise SourceError(
                f"{file_path} is {other_format}, not parquet",
                received=repr(head[:40])[1:],
                way_out="Correct path or format in the dataset's YAML",
            )
        raise _damaged_file(file_path, f"it ends with {magic_bytes!r} instead of b'PAR1'")
    if n_footer > min(file_size - _FILE_END.size, MAX_FOOTER_BYTES):
        raise _damaged_file(file_path, f"a footer of {n_footer:,} bytes")


def _damaged_file(file_path: Path, problem: str) -> SourceError:
    return SourceError(
        f"Cannot read {file_path} as parquet",
        received=problem,
        way_out="The file may be cut short, damaged or in another format: export it again",
    )


def _text_columns(schema: pa.Schema, needed_columns: Sequence[str]) -> list[str]:
    """Names of the needed columns that hold text or bytes.

    Raises:
        SchemaError: A needed column is a list or another nested type.
    """
    for column_name in needed_columns:
        column_type = schema.field(column_name).type
        value_type = column_type.value_type if pa.types.is_dictionary(column_type) else column_type
        if isinstance(value_type, pa.BaseExtensionType):  # such as arrow.uuid
            value_type = value_type.storage_type
        if pa.types.is_nested(value_type):
            raise SchemaError(
                f"Column {column_name!r} cannot be read as text",
                received=column_type,
                way_out="Map a column of text or numbers, or correct the source",
            )
    return [
        column_name for column_name in needed_columns if _is_text(schema.field(column_name).type)
    ]


def _is_text(column_type: pa.DataType) -> bool:
    value_type = column_type.value_type if pa.types.is_dictionary(column_type) else column_type
    return any(is_kind(value_type) for is_kind in _TEXT_KINDS)


def _decode_batch(batch: pa.RecordBatch, byte_budget: ByteBudget) -> Iterator[pa.RecordBatch]:
    """Decode the dictionaries of a batch; it is split at ``MAX_BATCH_BYTES``."""
    batch.validate(full=True)  # reading checks neither dictionary indices nor UTF-8
    if not batch.num_rows:
        return
    n_bytes = _row_bytes(batch)
    byte_budget.spend(int(n_bytes.sum()))
    part_numbers = np.cumsum(n_bytes) // MAX_BATCH_BYTES
    part_starts = np.flatnonzero(np.diff(part_numbers, prepend=-1))
    for part_start, part_end in zip(part_starts, [*part_starts[1:], batch.num_rows], strict=True):
        part_rows = batch.slice(part_start, part_end - part_start)
        decoded_columns = [_decode_column(column) for column in part_rows.columns]
        yield pa.RecordBatch.from_arrays(decoded_columns, names=batch.schema.names)


def _decode_column(column: pa.Array) -> pa.Array:
    """The column without dictionary; one of type null, which has no values, becomes text."""
    if pa.types.is_null(column.type):
        return column.cast(pa.string())
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _row_bytes(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Size of each row with its texts decoded, bytes, shape (n_rows,)."""
    n_bytes = np.zeros(batch.num_rows, dtype=np.int64)
    for column in batch.columns:
        if pa.types.is_dictionary(column.type) and _is_text(column.type):
            text_lengths = pc.binary_length(column.dictionary).fill_null(0).to_numpy()
            if len(text_lengths):
                n_bytes += text_lengths[column.indices.fill_null(0).to_numpy()]
        else:
            n_bytes += -(-column.nbytes // batch.num_rows)
    return n_bytes
