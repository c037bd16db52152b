"""Streaming of CSV files, compressed or not, in bounded memory."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv as pcsv

from chronotope.contracts.errors import SchemaError
from chronotope.datasets.columns import check_columns
from chronotope.datasets.files.budget import MAX_COLUMNS, ByteBudget
from chronotope.datasets.table_spec import TableSpec
from chronotope.runtime.regular_files import open_regular, require_regular

BLOCK_BYTES: Final = 16 << 20
"""Size of the blocks that are parsed, bytes; a longer row cannot be read."""

_HEAD_BYTES: Final = 1 << 20
_CODECS: Final = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4", ".br": "brotli"}


def stream_csv(table_spec: TableSpec, file_path: Path) -> Iterator[pa.RecordBatch]:
    """Read the needed columns of a CSV file in batches; every column is text.

    Args:
        table_spec: Encoding, delimiter, columns and limits.
        file_path: Path of the file; its suffix selects the decompression.

    Raises:
        SourceError: The decompressed size exceeds the limits.
        SchemaError: Columns are missing, or the file has more than ``MAX_COLUMNS``.
        OSError, ValueError: The file cannot be read as CSV.
    """
    "".encode(table_spec.encoding)  # raises for codecs that are no text encodings, such as zlib
    read_options = pcsv.ReadOptions(encoding=table_spec.encoding, block_size=BLOCK_BYTES)
    parse_options = pcsv.ParseOptions(delimiter=table_spec.delimiter, newlines_in_values=True)
    _require_few_columns(table_spec, file_path)
    with (
        _open_decompressed(table_spec, file_path) as file,
        pcsv.open_csv(file, read_options, parse_options) as header_reader,
    ):
        check_columns(table_spec, header_reader.schema.names, file_path)
    convert_options = pcsv.ConvertOptions(
        include_columns=list(table_spec.needed),
        column_types=dict.fromkeys(table_spec.needed, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
    )
    with (
        _open_decompressed(table_spec, file_path) as file,
        pcsv.open_csv(file, read_options, parse_options, convert_options) as csv_reader,
    ):
        yield from csv_reader


@contextmanager
def _open_decompressed(table_spec: TableSpec, file_path: Path) -> Iterator[pa.NativeFile]:
    codec_name = _CODECS.get(file_path.suffix)
    with open_regular(file_path) as file:
        if codec_name is None:
            yield pa.PythonFile(file, mode="r")
            return
        byte_budget = ByteBudget(require_regular(file_path), table_spec.limits.max_bytes)
        decompressed_stream = pa.CompressedInputStream(file, codec_name)
        with pa.PythonFile(
            _BudgetedStream(decompressed_stream, byte_budget), mode="r"
        ) as bounded_file:
            yield bounded_file


def _require_few_columns(table_spec: TableSpec, file_path: Path) -> None:
    """Limit the columns of the header before Arrow parses it: each of them takes memory."""
    with _open_decompressed(table_spec, file_path) as file:
        header_line = file.read(_HEAD_BYTES).split(b"\n", 1)[0]
    n_columns = header_line.count(table_spec.delimiter.encode()) + 1
    if n_columns > MAX_COLUMNS:
        raise SchemaError(
            f"The header has more than {MAX_COLUMNS:,} columns",
            received=file_path,
            way_out="Store only the needed columns, or correct delimiter in the dataset's YAML",
        )


class _BudgetedStream(io.RawIOBase):
    """Stream of decompressed bytes that raises when a byte budget is exceeded."""

    def __init__(self, decompressed_stream: pa.NativeFile, byte_budget: ByteBudget) -> None:
        self._content, self._budget = decompressed_stream, byte_budget

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Read at most ``size`` bytes; a negative size reads one block."""
        chunk: bytes = self._content.read(BLOCK_BYTES if size < 0 else size)
        self._budget.spend(len(chunk))
        return chunk
