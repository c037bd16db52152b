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
from chronotope.datasets.table_spec import TableSpec
from chronotope.runtime.allowed_paths import require_allowed_path
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


def stream_parquet(
    table_spec: TableSpec, source_path: Path, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Read the needed columns of a Parquet file, or of a folder of such files, in batches.

    Args:
        table_spec: Columns and limits.
        source_path: The file or folder.
        batch_rows: Maximum number of rows of a batch; batches of long texts have fewer.

    Raises:
        SourceError: A file is cut short, or expands beyond its limits.
        SchemaError: Columns are missing, there are more than ``MAX_COLUMNS``, or a needed
            column is nested.
        OSError, ValueError: A file cannot be read as Parquet.
    """
    file_paths = _files(source_path)
    byte_budget = ByteBudget(sum(map(require_regular, file_paths)), table_spec.limits.max_bytes)
    _require_valid_files(file_paths, table_spec)
    file_names = [str(file_path) for file_path in file_paths]
    arrow_schema = pds.dataset(file_names, format="parquet").schema
    check_columns(table_spec, arrow_schema.names, source_path)
    text_columns = _text_columns(arrow_schema, table_spec.needed)
    # Dictionary-encoded: a text that many rows share is in memory once until it is decoded.
    source = pds.dataset(file_names, format=pds.ParquetFileFormat(dictionary_columns=text_columns))
    # A scan of the whole data set reads ahead without limit while batches are processed.
    for fragment in source.get_fragments():
        for row_group in fragment.split_by_row_group():
            for batch in row_group.to_batches(
                schema=source.schema, columns=list(table_spec.needed), batch_size=batch_rows
            ):
                yield from _decode_batch(batch, byte_budget)


def _files(source_path: Path) -> list[Path]:
    """The file, or all files below a folder, sorted, without names that start with . or _."""
    if not source_path.is_dir():
        return [source_path]
    file_paths = sorted(_files_below(source_path))
    if not file_paths:
        raise SourceError("The folder holds no files", received=source_path, way_out="Correct path")
    return [require_allowed_path(file_path) for file_path in file_paths]


def _files_below(folder: Path) -> Iterator[Path]:
    for entry in os.scandir(folder):
        if entry.name.startswith((".", "_")):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(Path(entry.path))
        else:  # a link to a folder may form a cycle; opening it as a file raises an error
            yield Path(entry.path)


def _require_valid_files(file_paths: Sequence[Path], table_spec: TableSpec) -> None:
    """Check the sizes in the files' metadata before Arrow allocates memory for them."""
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
    if magic_bytes not in (b"PAR1", b"PARE"):
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
        decoded_columns = [
            column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
            for column in part_rows.columns
        ]
        yield pa.RecordBatch.from_arrays(decoded_columns, names=batch.schema.names)


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
