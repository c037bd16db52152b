"""Rows of a CSV file in bounded memory, whatever it is compressed to and however long a row is."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv as pcsv

from chronotope.contracts.errors import SchemaError
from chronotope.datasets.budget import MAX_COLUMNS, ByteBudget
from chronotope.datasets.columns import check_columns
from chronotope.datasets.spec import TableSpec
from chronotope.runtime.regular_files import open_regular, require_regular

BLOCK_BYTES: Final = 16 << 20
"""No row may be longer."""

_HEAD_BYTES: Final = 1 << 20
_CODECS: Final = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4", ".br": "brotli"}


def stream_csv(table: TableSpec, path: Path) -> Iterator[pa.RecordBatch]:
    """Batches of the needed columns of a CSV file, all of them text.

    Args:
        table: Encoding, delimiter, columns and limits.
        path: The file; its suffix tells whether it is compressed.

    Raises:
        SourceError: It expands beyond its limits.
        SchemaError: Columns are missing or too many.
        OSError, ValueError: It is no such file.
    """
    "".encode(table.encoding)  # some of Python's encodings decompress instead
    read = pcsv.ReadOptions(encoding=table.encoding, block_size=BLOCK_BYTES)
    parse = pcsv.ParseOptions(delimiter=table.delimiter, newlines_in_values=True)
    _require_few_columns(table, path)
    with _opened(table, path) as file, pcsv.open_csv(file, read, parse) as first:
        check_columns(table, first.schema.names, path)
    convert = pcsv.ConvertOptions(
        include_columns=list(table.needed),
        column_types=dict.fromkeys(table.needed, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
    )
    with _opened(table, path) as file, pcsv.open_csv(file, read, parse, convert) as reader:
        yield from reader


@contextmanager
def _opened(table: TableSpec, path: Path) -> Iterator[pa.NativeFile]:
    codec = _CODECS.get(path.suffix)
    with open_regular(path) as file:
        if codec is None:
            yield pa.PythonFile(file, mode="r")
            return
        budget = ByteBudget(require_regular(path), table.limits.max_bytes)
        content = pa.CompressedInputStream(file, codec)
        with pa.PythonFile(_Bounded(content, budget), mode="r") as bounded:
            yield bounded


def _require_few_columns(table: TableSpec, path: Path) -> None:
    """Look at the header before rows are made of it: each column of it costs memory."""
    with _opened(table, path) as file:
        header = file.read(_HEAD_BYTES).split(b"\n", 1)[0]
    n_columns = header.count(table.delimiter.encode()) + 1
    if n_columns > MAX_COLUMNS:
        raise SchemaError(
            f"The header has more than {MAX_COLUMNS:,} columns",
            received=path,
            way_out="Deliver the needed columns alone, or correct delimiter",
        )


class _Bounded(io.RawIOBase):
    """A compressed file that may not give more bytes than its budget."""

    def __init__(self, content: pa.NativeFile, budget: ByteBudget) -> None:
        self._content, self._budget = content, budget

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes; all that are left would have no bound."""
        chunk: bytes = self._content.read(BLOCK_BYTES if size < 0 else size)
        self._budget.spend(len(chunk))
        return chunk
